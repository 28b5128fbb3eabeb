"""The whole path with the real model beside bare Triton with the same texts, in turns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec

from bench.bare_triton import Flood, Setting
from bench.measure import Progress, middle_rate, progress_of
from bench.polyvox import run_polyvox
from bench.servers import Say, Scene, scene

GRID = tuple(Setting(batch, in_flight) for batch, in_flight in product((1, 4, 8, 16), (2, 3, 4)))
GRID_POSTS = 300
FINALISTS = 2
"""The settings that were fastest in the short look at the grid are measured in full, beside polyvox."""


@dataclass(frozen=True)
class RealFigures:
    """Posts per second of each repeat; of the grid, one short run each."""

    posts: int
    grid: dict[Setting, float]
    bare: dict[Setting, list[float]]
    published: list[float]
    applied: list[float]


def measure_real(models: Path, samples: Path, posts: int, repeats: int, say: Say) -> RealFigures:
    """Look at the grid once, then take turns: polyvox, then bare Triton with the best settings."""
    with scene(models, samples, posts, say) as servers:
        grid = dict(zip(GRID, flood(servers, GRID, min(posts, GRID_POSTS)), strict=True))
        best = sorted(grid, key=lambda setting: -grid[setting])[:FINALISTS]
        say(f"bare Triton, first look: {', '.join(f'{label(each)} {grid[each]:.0f}/s' for each in best)}")
        figures = RealFigures(posts, grid, {setting: [] for setting in best}, [], [])
        for repeat in range(1, repeats + 1):
            run = run_polyvox(servers, "all", {})
            figures.published.append(middle_rate(run.published, posts))
            figures.applied.append(middle_rate(run.applied, posts, run.published))
            say(f"real model, {repeat}: polyvox {figures.published[-1]:.0f}/s, in Redis {figures.applied[-1]:.0f}/s")
            for setting in best:
                figures.bare[setting] += flood(servers, (setting,), posts)
                say(f"real model, {repeat}: bare Triton, {label(setting)}: {figures.bare[setting][-1]:.0f}/s")
    return figures


def label(setting: Setting) -> str:
    """A setting in words."""
    return f"batches of {setting.batch}, {setting.in_flight} in flight"


def flood(servers: Scene, settings: tuple[Setting, ...], posts: int) -> list[float]:
    """The rate of bare Triton with each setting, all from one process."""
    result = servers.directory / "bare_triton.json"
    job = Flood(
        url=servers.addresses.triton_grpc,
        bundle=str(servers.models / "analyzer" / "1"),
        samples=str(servers.samples),
        count=posts,
        settings=list(settings),
        result=str(result),
    )
    servers.run_program("bench.bare_triton", job)
    runs: list[Progress] = [progress_of(times_s) for times_s in msgspec.json.decode(result.read_bytes())]
    return [middle_rate(progress, len(progress)) for progress in runs]
