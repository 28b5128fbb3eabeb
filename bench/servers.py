"""The servers of one comparison and what its contenders share: the loaded input topics, a directory, the reader."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec

from bench.kafka import Pump, completion_times_s, load
from bench.measure import Progress, progress_of
from bench.texts import FINANCIAL, SOCIAL, inputs, record
from worker.errors import PolyvoxError
from worker.feeds.topics import ensure_topics
from worker.local.environment import REPOSITORY
from worker.local.process import Guarded, Launch, log_tail
from worker.local.stack import Addresses, StackOptions, running_stack
from worker.local.worker import variables
from worker.settings import Settings, load_settings

Say = Callable[[str], None]

POSTS, COPIED = "bench.posts", "bench.copied"
"""What the names of the input topics begin with."""


@dataclass(frozen=True)
class Scene:
    """Running servers, with posts waiting in the input topics.

    Attributes:
        models: the repository that Triton runs `analyzer` of.
        directory: for logs and results; gone at the end.
        count: the posts in the topics that a worker reads.
        copied: the posts in the topics that bare loops read, which are through in no time.
    """

    addresses: Addresses
    models: Path
    samples: Path
    directory: Path
    count: int
    copied: int
    say: Say

    def variables(self, inputs: str = POSTS) -> dict[str, str]:
        """A worker's environment: a group and output topics of its own, so that each run reads everything anew."""
        run = f"bench-{uuid4().hex[:8]}"
        return variables(self.addresses) | {
            "POLYVOX_APP_ID": run,
            "POLYVOX_INPUT_TOPICS": ",".join(f"{inputs}.{each}={each}" for each in (SOCIAL, FINANCIAL)),
            "POLYVOX_ENRICHED_TOPIC": f"{run}.enriched",
            "POLYVOX_DEAD_LETTERS_TOPIC": f"{run}.dead",
            "POLYVOX_START_AT": "earliest",
            "POLYVOX_INFERENCE": "triton",
            "POLYVOX_SEEN_WINDOWS_MB": "0",  # later rounds repeat the texts of the first: each must be inferred
            "POLYVOX_MODELS_DIR": str(self.models),
            "POLYVOX_HEALTH_HOST": "127.0.0.1",
            "POLYVOX_HEALTH_PORT": "0",
        }

    def published(self, settings: Settings, count: int) -> Progress:
        """The progress of a run of `count` posts that is over, from the timestamps in its output topic."""
        partitions = settings.partitions * len(settings.input_topics)
        topic = settings.enriched_topic
        return progress_of(asyncio.run(completion_times_s(settings.kafka_brokers, topic, partitions, count)))

    def run_program(self, module: str, job: msgspec.Struct) -> None:
        """Run a contender, `python -m <module> <job>`, to its end; it ends with this process at the latest.

        Raises:
            PolyvoxError: it failed; with the end of its log.
        """
        log = self.directory / f"{module}.log"
        command = (sys.executable, "-m", module, msgspec.json.encode(job).decode())
        program = Guarded(Launch(command, REPOSITORY, log))
        try:
            status = program.wait()
        finally:
            program.stop()
        if status != 0:
            raise PolyvoxError(f"{module} ended with status {status}. The end of its log:\n{log_tail(log)}")

    def pump(self, module: str) -> Progress:
        """Run a bare consume-produce loop over all records, into a topic of its own."""
        settings = as_settings(self.variables(COPIED))
        ensure_topics(settings)
        topics = list(settings.input_topics)
        job = Pump(settings.kafka_brokers, topics, settings.enriched_topic, self.copied, settings.app_id)
        self.run_program(module, job)
        return self.published(settings, self.copied)


def as_settings(environment: dict[str, str]) -> Settings:
    """The settings that a worker with this environment has."""
    return load_settings(**{name.removeprefix("POLYVOX_").lower(): value for name, value in environment.items()})


@contextlib.contextmanager
def scene(models: Path, samples: Path, count: int, say: Say, copied: int = 0) -> Iterator[Scene]:
    """Start Kafka, Redis and Triton, and load the input topics."""
    with (
        tempfile.TemporaryDirectory(prefix="polyvox-bench-", ignore_cleanup_errors=True) as directory,
        running_stack(StackOptions(models_dir=models, model_names=("analyzer",)), say) as addresses,
    ):
        made = Scene(addresses, models, samples, Path(directory), count, copied, say)
        for prefix, posts in ((POSTS, count), (COPIED, copied)):
            if posts:
                say(f"loading {posts} posts")
                ensure_topics(as_settings(made.variables(prefix)))
                asyncio.run(load(addresses.kafka, (record(prefix, one) for one in inputs(samples, posts))))
        yield made
