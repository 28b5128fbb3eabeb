"""A measurement of the server of the settings, from texts to what the batching file says of it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from worker.analysis.batching_file import BatchingFile, Figures, Measured, engine_of
from worker.analysis.bundle import Bundle
from worker.analysis.choice import make_inference
from worker.analysis.prepare import Prepared, Preparer, Window
from worker.errors import ConfigInvalid, ModelInvalid
from worker.settings import Settings
from worker.text.language import Identifier
from worker.timing import Clock
from worker.tuning.choice import POSTS, Way, choose, figures_of, grid
from worker.tuning.measure import Bench, Effort, Progress, sweep
from worker.tuning.texts import Text

CPUS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Texts:
    """What is sent, and where it came from."""

    name: str
    texts: Sequence[Text]


@dataclass(frozen=True)
class Found:
    """What was measured, and the ways of which the server refused a batch, with its words."""

    measured: Measured
    refused: dict[Way, str]

    @property
    def chosen(self) -> Figures:
        """The one to batch by.

        Raises:
            PolyvoxError: as `choose`.
        """
        return choose(self.measured.figures, self.measured.latency_ms)

    def file(self) -> BatchingFile:
        """What start-up will read.

        Raises:
            PolyvoxError: as `choose`.
        """
        chosen = self.chosen
        return BatchingFile(
            batch_posts=chosen.batch_posts,
            batch_tokens=chosen.batch_tokens,
            batches_in_flight=chosen.batches_in_flight,
            measured=self.measured,
        )


async def calibrate(settings: Settings, texts: Texts, effort: Effort, clock: Clock, progress: Progress) -> Found:
    """Measure the server of the settings; takes minutes, and disturbs whoever else uses the server.

    Raises:
        ConfigInvalid: no text fits the model.
        InferenceUnavailable, ModelInvalid: as `Inference.check` and `Inference.infer`.
    """
    bundle = Bundle.load(settings.bundle_dir)
    posts = _windows(bundle, texts, settings.max_windows)
    most = await _most_posts(settings, bundle)
    longest = max(window.length for windows in posts for window in windows)
    inference = make_inference(settings.model_copy(update={"batch_posts": most}), bundle)
    try:
        bench = Bench(inference, posts, bundle.pad_id, settings.pool_posts, clock)
        found = await sweep(bench, grid(most, longest, settings.pool_posts), effort, progress)
    finally:
        await inference.aclose()
    engine = engine_of(settings)
    measured = Measured(
        model=bundle.model.name,
        model_version=bundle.model.version,
        inference=engine,
        server="in process" if engine == "embedded" else settings.triton_url,
        processor=processor(),
        at=datetime.fromtimestamp(clock.unix_ms() // 1000, UTC).isoformat(),
        texts=texts.name,
        latency_ms=effort.latency_ms,
        figures=tuple(figures_of(way, runs) for way, runs in sorted(found.runs.items())),
    )
    return Found(measured, found.refused)


def _windows(bundle: Bundle, texts: Texts, max_windows: int) -> list[tuple[Window, ...]]:
    """The windows of each post that the model can read."""
    prepared = Preparer(bundle, Identifier(), max_windows).prepare_many(texts.texts)
    posts = [each.windows for each in prepared if isinstance(each, Prepared)]
    if not posts:
        raise ConfigInvalid(f"{texts.name}: every post is a dead letter (too long?): give others with --texts")
    return posts


async def _most_posts(settings: Settings, bundle: Bundle) -> int:
    """The largest of `POSTS` that the server takes in one batch.

    Raises:
        InferenceUnavailable, ModelInvalid: as `Inference.check`, with the smallest one.
    """
    most = POSTS[0]
    for posts in POSTS:
        inference = make_inference(settings.model_copy(update={"batch_posts": posts}), bundle)
        try:
            await inference.check()
        except ModelInvalid:
            if posts == POSTS[0]:
                raise
            break
        finally:
            await inference.aclose()
        most = posts
    return most


def processor() -> str:
    """The processor of this machine, and the cores that this process may use."""
    text = CPUS.read_text() if CPUS.is_file() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{named[1] if named else platform.machine()}, {cores} cores"
