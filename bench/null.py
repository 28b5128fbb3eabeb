"""Everything but the model: polyvox on a model that answers at once, beside bare loops that only copy records."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from bench.jobs import OwnWork
from bench.measure import Measured, progress_of
from bench.polyvox import Plan, run_polyvox
from bench.servers import Ground, Scene, rival_python, scene
from bench.stacks import Profile, draw_flame_graph, profile_worker
from worker.settings import REPOSITORY

NULL_MODEL = REPOSITORY / "tests" / "models" / "null" / "analyzer"
FAST_MODEL = {
    "POLYVOX_BATCH_POSTS": "64",
    "POLYVOX_BATCH_TOKENS": "8192",
    "POLYVOX_POOL_POSTS": "2048",
}
"""The largest batches that the model takes; the defaults are for a slow model on a CPU. What one would set beside an
accelerator."""


COPIED_FACTOR = 5
"""Bare loops get so many times the posts, so that they run for some seconds."""

SLOWER_COPIES = {"faststream_one": 40}
"""Loops that get the so-and-so-many-th part of that."""


@dataclass
class NullFigures:
    """Runs of each contender, one a repeat; `start_s` as in `RealFigures`."""

    posts: int
    runs: dict[str, list[Measured]] = field(default_factory=dict)
    start_s: list[float] = field(default_factory=list)


def measure_null(ground: Ground, posts: int, repeats: int) -> NullFigures:
    """Let the contenders take turns."""
    figures = NullFigures(posts)
    with (
        null_repository(ground.models) as models,
        scene(replace(ground, models=models), posts, posts * COPIED_FACTOR) as servers,
    ):
        for repeat in range(1, repeats + 1):
            for name, measured in one_round(servers, figures):
                figures.runs.setdefault(name, []).append(measured)
                ground.say(f"null model, {repeat}: {name} {measured}")
    return figures


def one_round(servers: Scene, figures: NullFigures) -> Iterator[tuple[str, Measured]]:
    """One run of each contender."""
    yield "aiokafka", copy(servers, "bare_aiokafka")
    yield "faust", copy(servers, "bare_faust")
    yield "faststream", copy(servers, "faststream_copy", python=rival_python("faststream"))
    yield "faststream_one", copy(servers, "faststream_copy", "one", python=rival_python("faststream"))
    yield "quix", copy(servers, "quix_copy", python=rival_python("quix"))
    yield "own_work", own_work(servers)
    run = run_polyvox(servers, Plan("enrich", FAST_MODEL))
    figures.start_s.append(run.start_s)
    yield "enrich", Measured.of(run.published, servers.count, run.traces)
    run = run_polyvox(servers, Plan("all", FAST_MODEL))
    yield "path_published", Measured.of(run.published, servers.count, run.traces)
    yield "path_applied", Measured.of(run.applied, servers.count, run.traces, run.published)
    run = run_polyvox(servers, Plan("all", FAST_MODEL, workers=2))
    yield "two_workers", Measured.of(run.published, servers.count, run.traces)


def copy(servers: Scene, program: str, *options: str, python: str = sys.executable) -> Measured:
    """A loop that copies all records, or a part of them where it is slow, into a topic of its own."""
    name = "_".join((program.removesuffix("_copy"), *options))
    pump = servers.output("copied", servers.copied // SLOWER_COPIES.get(name, 1))
    traces = servers.run_program(program, pump, *options, python=python)
    return Measured.of(servers.read(pump), pump.count, traces)


def own_work(servers: Scene) -> Measured:
    """The worker's own functions in one thread, on as many posts as the worker gets."""
    result = servers.directory / "own_work.json"
    batch = int(FAST_MODEL["POLYVOX_BATCH_POSTS"])
    job = OwnWork(servers.bundle, str(servers.ground.samples), servers.count, batch, str(result))
    traces = servers.run_program("own_work", job)
    return Measured.of(progress_of(msgspec.json.decode(result.read_bytes())), servers.count, traces)


def measure_profile(ground: Ground, posts: int) -> tuple[Profile, str]:
    """Look into the worker on the whole path with the null model; the profile, and the flame graph as SVG."""
    profiles: list[Profile] = []
    flame = ""

    def look(pid: int) -> None:
        nonlocal flame
        profiles.append(profile_worker(pid, raw))
        problem = draw_flame_graph(pid, svg)
        flame = "" if problem else svg.read_text()
        if problem:
            ground.say(f"no flame graph: {problem}")

    with null_repository(ground.models) as models, scene(replace(ground, models=models), posts) as servers:
        raw, svg = servers.directory / "stacks.txt", servers.directory / "flame.svg"
        ground.say("profile: the whole path with the null model under py-spy")
        run_polyvox(servers, Plan("all", FAST_MODEL, during=look))
    return profiles[0], flame


@contextlib.contextmanager
def null_repository(models: Path) -> Iterator[Path]:
    """A model repository with the null model's code and the real bundle: tokenizer, labels, limits.

    The worker compares the bundle's files with their hashes, so the real model file is beside them, and nobody runs it.
    """
    real = max((models / "analyzer").glob("[0-9]*"), key=lambda path: int(path.name))
    described = msgspec.json.decode((real / "bundle.json").read_bytes())
    with tempfile.TemporaryDirectory(prefix="polyvox-null-") as directory:
        version = Path(directory) / "analyzer" / "1"
        version.mkdir(parents=True)
        for name in ("bundle.json", *described["sha256"]):
            (version / name).symlink_to((real / name).resolve())
        (version / "model.py").write_text((NULL_MODEL / "1" / "model.py").read_text())
        config = with_topics((NULL_MODEL / "config.pbtxt").read_text(), len(described["topics"]))
        (version.parent / "config.pbtxt").write_text(config)
        yield Path(directory)


def with_topics(config: str, topics: int) -> str:
    """The null model's configuration with as many topic logits as the bundle has labels.

    Raises:
        ValueError: the configuration has no line for them.
    """
    changed, lines = re.subn(r'(name: "topic_logits".*?dims: \[ )\d+', rf"\g<1>{topics}", config)
    if lines != 1:
        raise ValueError("the null model's config.pbtxt declares no topic_logits on one line")
    return changed
