"""Everything but the model: polyvox on a model that answers at once, beside bare loops that only copy records."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.measure import middle_rate
from bench.polyvox import Run, run_polyvox
from bench.servers import Say, Scene, scene
from bench.stacks import Profile, profile_worker
from worker.local.environment import REPOSITORY

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


@dataclass(frozen=True)
class NullFigures:
    """Posts per second of each repeat, by contender."""

    posts: int
    rates: dict[str, list[float]]


CONTENDERS: dict[str, Callable[[Scene], dict[str, float]]] = {
    "aiokafka": lambda servers: _of_loop("aiokafka", servers),
    "faust": lambda servers: _of_loop("faust", servers),
    "enrich": lambda servers: {"enrich": _published(run_polyvox(servers, "enrich", FAST_MODEL), servers.count)},
    "path": lambda servers: _of_path(run_polyvox(servers, "all", FAST_MODEL), servers.count),
}


def _of_loop(name: str, servers: Scene) -> dict[str, float]:
    return {name: middle_rate(servers.pump(f"bench.bare_{name}"), servers.copied)}


def _published(run: Run, posts: int) -> float:
    return middle_rate(run.published, posts)


def _of_path(run: Run, posts: int) -> dict[str, float]:
    applied = middle_rate(run.applied, posts, run.published)
    return {"path_published": _published(run, posts), "path_applied": applied}


def measure_null(models: Path, samples: Path, posts: int, repeats: int, say: Say) -> NullFigures:
    """Let the contenders take turns."""
    figures = NullFigures(posts, {})
    with (
        null_repository(models) as repository,
        scene(repository, samples, posts, say, posts * COPIED_FACTOR) as servers,
    ):
        for repeat in range(1, repeats + 1):
            for contender in CONTENDERS.values():
                for name, rate in contender(servers).items():
                    figures.rates.setdefault(name, []).append(rate)
                    say(f"null model, {repeat}: {name} {rate:,.0f}/s")
    return figures


def measure_profile(models: Path, samples: Path, posts: int, say: Say) -> Profile:
    """Look into the worker while it runs the whole path with the null model."""
    profiles: list[Profile] = []
    with null_repository(models) as repository, scene(repository, samples, posts, say) as servers:
        raw = servers.directory / "stacks.txt"
        say("profile: the whole path with the null model under py-spy")
        run_polyvox(servers, "all", FAST_MODEL, lambda pid: profiles.append(profile_worker(pid, raw)))
    return profiles[0]


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
