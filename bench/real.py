"""The whole path with the real model beside its parts and its rivals, with the same texts, in turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import msgspec

from bench.contenders.flink_triton import flink_jars
from bench.cpu import Trace
from bench.jobs import Alone, AskText, Enrich, Flood, Naive, Setting, Split
from bench.measure import Measured, Progress, middle_rate, progress_of
from bench.polyvox import Plan, run_polyvox
from bench.servers import Ground, Scene, rival_python, scene
from tests.apache_kafka.broker import Unavailable

GRID = tuple(Setting(batch, in_flight) for batch, in_flight in product((1, 4, 8, 16), (2, 3, 4)))
SPLITS = tuple(Split(batch, *shape) for batch, shape in product((8, 16), ((1, 2), (2, 1))))
FIRST_LOOK_POSTS = 300
FINALISTS = 2
"""The settings that were fastest in the short look at the grid are measured in full, beside polyvox."""

SHARES = {"alone": 2, "quix": 4, "flink": 4, "naive": 20, "naive_base": 60}
"""Slow contenders get the so-and-so-many-th part of the posts, and at least `FEWEST`."""

FEWEST = 60
ASKED_BY_FLINK = "analyze_text"


@dataclass
class RealFigures:
    """Runs of each contender, one a repeat; of the two grids, one short run each.

    Attributes:
        processors: that all of them share.
        padded_tokens: tokens sent for each real one, of each run of one worker.
        start_s: start of one worker to its first record in `enriched`, of each run.
    """

    posts: int
    processors: int
    grid: dict[Setting, float]
    splits: dict[Split, float]
    runs: dict[str, list[Measured]] = field(default_factory=dict)
    padded_tokens: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)


def measure_real(ground: Ground, posts: int, repeats: int) -> RealFigures:
    """Look at the grids once, then let all contenders take turns."""
    with scene(ground, posts, models=None) as servers:
        few = min(posts, FIRST_LOOK_POSTS)
        grid = dict(zip(GRID, rates(run_flood(servers, GRID, few)), strict=True))
        splits = dict(zip(SPLITS, rates(run_alone(servers, SPLITS, few)), strict=True))
        best = sorted(grid, key=lambda setting: -grid[setting])[:FINALISTS]
        figures = RealFigures(posts, len(os.sched_getaffinity(0)), grid, splits)
        turns = contenders(ground, figures, best, max(splits, key=lambda split: splits[split]))
        for repeat in range(1, repeats + 1):
            for run in turns:
                for name, measured in run(servers):
                    figures.runs.setdefault(name, []).append(measured)
                    ground.say(f"real model, {repeat}: {name} {measured}")
    return figures


Turn = Callable[[Scene], Iterator[tuple[str, Measured]]]


def contenders(ground: Ground, figures: RealFigures, best: list[Setting], split: Split) -> list[Turn]:
    """Everybody, in the order of their turns."""
    return [
        lambda servers: _polyvox(servers, figures),
        _two_workers,
        *(lambda servers, setting=setting: _flood(servers, setting) for setting in best),
        lambda servers: _alone(servers, split),
        _faststream,
        _quix,
        *_flink_if_it_can(ground),
        _naive,
    ]


def bare_name(setting: Setting) -> str:
    """What a setting of bare Triton is called among the runs."""
    return f"bare_triton_{setting.batch}x{setting.in_flight}"


def share(name: str, posts: int) -> int:
    """How many posts a contender gets."""
    return min(posts, max(FEWEST, posts // SHARES[name])) if name in SHARES else posts


def _polyvox(servers: Scene, figures: RealFigures) -> Iterator[tuple[str, Measured]]:
    run = run_polyvox(servers, Plan("all"))
    figures.padded_tokens.append(run.padded_tokens)
    figures.start_s.append(run.start_s)
    yield "path_published", Measured.of(run.published, servers.count, run.traces)
    yield "path_applied", Measured.of(run.applied, servers.count, run.traces, run.published)


def _two_workers(servers: Scene) -> Iterator[tuple[str, Measured]]:
    run = run_polyvox(servers, Plan("all", workers=2))
    yield "two_workers", Measured.of(run.published, servers.count, run.traces)


def _flood(servers: Scene, setting: Setting) -> Iterator[tuple[str, Measured]]:
    [progress], traces = run_flood(servers, (setting,), servers.count)
    yield bare_name(setting), Measured.of(progress, len(progress), traces)


def _alone(servers: Scene, split: Split) -> Iterator[tuple[str, Measured]]:
    [progress], traces = run_alone(servers, (split,), share("alone", servers.count))
    yield "alone", Measured.of(progress, len(progress), traces)


def _faststream(servers: Scene) -> Iterator[tuple[str, Measured]]:
    yield _rival(servers, "faststream")


def _quix(servers: Scene) -> Iterator[tuple[str, Measured]]:
    yield _rival(servers, "quix")


def _flink_if_it_can(ground: Ground) -> list[Turn]:
    """Asked once: a contender has a run in every repeat, or none."""
    try:
        if not (ground.models / ASKED_BY_FLINK).is_dir():
            raise Unavailable(f"{ground.models} holds no {ASKED_BY_FLINK}, the only model that its module can ask")
        flink_jars()
    except Unavailable as why:
        ground.say(f"no Flink: {why}")
        return []
    return [_flink]


def _flink(servers: Scene) -> Iterator[tuple[str, Measured]]:
    pump = servers.output("posts", share("flink", servers.count))
    traces = servers.run_program("flink_triton", AskText(pump, servers.addresses.triton_http))
    yield "flink", Measured.of(servers.read(pump), pump.count, traces)


def _naive(servers: Scene) -> Iterator[tuple[str, Measured]]:
    for name in ("naive", "naive_base"):
        pump = servers.output("posts", share(name, servers.count))
        job = Naive(pump, servers.bundle, base_size=name == "naive_base")
        traces = servers.run_program("naive", job)
        yield name, Measured.of(servers.read(pump), pump.count, traces)


def _rival(servers: Scene, name: str) -> tuple[str, Measured]:
    pump = servers.output("posts", share(name, servers.count))
    job = Enrich(pump, servers.addresses.triton_grpc, servers.bundle)
    traces = servers.run_program(f"{name}_triton", job, python=rival_python(name))
    return name, Measured.of(servers.read(pump), pump.count, traces)


def run_flood(servers: Scene, settings: tuple[Setting, ...], posts: int) -> tuple[list[Progress], Mapping[str, Trace]]:
    """Bare Triton with each setting, all from one process."""
    result = servers.directory / "bare_triton.json"
    job = Flood(
        url=servers.addresses.triton_grpc,
        bundle=servers.bundle,
        samples=str(servers.ground.samples),
        count=posts,
        settings=list(settings),
        result=str(result),
    )
    return _progresses(servers, "bare_triton", job, result)


def run_alone(servers: Scene, splits: tuple[Split, ...], posts: int) -> tuple[list[Progress], Mapping[str, Trace]]:
    """Onnxruntime alone with each split, all from one process."""
    result = servers.directory / "alone.json"
    job = Alone(servers.bundle, str(servers.ground.samples), posts, list(splits), str(result))
    return _progresses(servers, "onnxruntime_alone", job, result)


def _progresses(
    servers: Scene, name: str, job: msgspec.Struct, result: Path
) -> tuple[list[Progress], Mapping[str, Trace]]:
    traces = servers.run_program(name, job)
    return [progress_of(times_s) for times_s in msgspec.json.decode(result.read_bytes())], traces


def rates(found: tuple[list[Progress], object]) -> list[float]:
    """The rate of each of several runs."""
    return [middle_rate(progress, len(progress)) for progress in found[0]]
