"""`python -m bench.tune_triton`: the shipped Triton configuration beside others; writes its section of the page.

Instances, threads of each, and how long the dynamic batcher waits for a second request of the same length. Asked in two
ways: as the worker does, and by many clients with one text each.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bench.jobs import Setting
from bench.page.models import label
from bench.real import rates, run_flood
from bench.servers import Ground, Kafka, Say, Scene
from worker.local.stack import StackOptions, running_stack
from worker.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "performance.md"
HEADING = "## Triton's configuration beside others"
ASKED = (Setting(8, 3), Setting(1, 16))
POSTS = 400
OFF = -1
DELAYS_US = (OFF, 0, 1000, 5000)
"""`OFF`: no dynamic batching."""


@dataclass(frozen=True)
class Shape:
    """One configuration; the shipped one has the delay 0."""

    instances: int
    threads: int
    delay_us: int


SHAPES = tuple(Shape(*parts) for parts in product((1, 2, 3), (1, 2), DELAYS_US))
SHIPPED = Shape(2, 1, 0)


def with_shape(config: str, shape: Shape) -> str:
    """The shipped config.pbtxt with another shape.

    Raises:
        ValueError: a line that it changes is not there, or not once.
    """
    batching = "" if shape.delay_us == OFF else rf"\g<1> max_queue_delay_microseconds: {shape.delay_us} }}"
    for pattern, replacement in (
        (r"(count: )\d+", rf"\g<1>{shape.instances}"),
        (r'(key: "intra_op_thread_count" value \{ string_value: ")\d+', rf"\g<1>{shape.threads}"),
        (r"(?m)^(dynamic_batching \{[^}]*?) \}$", batching),
    ):
        config, changed = re.subn(pattern, replacement, config)
        if changed != 1:
            raise ValueError(f"config.pbtxt has {changed} lines that match {pattern}")
    return config


@contextlib.contextmanager
def shaped_repository(models: Path, shape: Shape) -> Iterator[Path]:
    """The model repository with another configuration of the analyzer."""
    with tempfile.TemporaryDirectory(prefix="polyvox-shape-") as directory:
        analyzer = Path(directory) / "analyzer"
        analyzer.mkdir()
        (analyzer / "1").symlink_to((models / "analyzer" / "1").resolve())
        (analyzer / "config.pbtxt").write_text(with_shape((models / "analyzer" / "config.pbtxt").read_text(), shape))
        yield Path(directory)


def measure(shapes: Sequence[Shape], posts: int, say: Say) -> dict[Shape, list[float]]:
    """Posts per second of each shape, asked in each of the `ASKED` ways."""
    found = {}
    for shape in shapes:
        with (
            tempfile.TemporaryDirectory(prefix="polyvox-tune-") as directory,
            shaped_repository(REPOSITORY / "triton_models", shape) as models,
            running_stack(StackOptions(("triton",), models, ("analyzer",)), lambda _: None) as addresses,
        ):
            ground = Ground(Kafka("none"), models, REPOSITORY / "samples", say)
            servers = Scene(ground, "tune", addresses, Path(directory), posts, 0)
            found[shape] = rates(run_flood(servers, ASKED, posts))
        say(
            f"{shape}: {', '.join(f'{label(way)} {rate:.0f}/s' for way, rate in zip(ASKED, found[shape], strict=True))}"
        )
    return found


def section(found: dict[Shape, list[float]], posts: int) -> str:
    """The section of the page."""
    lines = [
        f"{HEADING}\n",
        f"Written by `python -m bench.tune_triton`: {posts} posts, one run of each, a fresh Triton for each line.",
        f"Asked as the worker does ({label(ASKED[0])}) and by many clients with one text each ({label(ASKED[1])}).",
        "The delay is how long the dynamic batcher holds a request for others of its length. The shipped configuration",
        "is in bold.\n",
        "| instances | threads of each | delay | " + " | ".join(label(way) for way in ASKED) + " |",
        "|---:|---:|---:|" + "---:|" * len(ASKED),
    ]
    for shape, rates_found in found.items():
        delay = "no batcher" if shape.delay_us == OFF else f"{shape.delay_us / 1000:g} ms"
        cells = [str(shape.instances), str(shape.threads), delay, *(f"{rate:.0f}" for rate in rates_found)]
        lines.append(f"| {' | '.join(f'**{cell}**' if shape == SHIPPED else cell for cell in cells)} |")
    return "\n".join(lines)


def kept_section(page: str) -> str:
    """The section in a page, which is its last; "" when there is none."""
    _, heading, rest = page.partition(HEADING)
    return (heading + rest).rstrip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("bench.tune_triton", description=__doc__)
    parser.add_argument("--posts", type=int, default=POSTS, help=f"posts of a run (default {POSTS})")
    options = parser.parse_args()
    made = section(measure(SHAPES, options.posts, print), options.posts)
    before = PAGE.read_text().partition(HEADING)[0].rstrip()
    PAGE.write_text(f"{before}\n\n{made}\n")
