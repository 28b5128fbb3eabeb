"""What a demo run comes to: counts, opinions read back from Redis, throughput and latencies."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from worker.local.opinions import Opinions

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run. Latencies are milliseconds from producing a record to its outcome, by quantile."""

    produced: int
    analysed: int
    dead_lettered: int
    tombstones: int
    seconds: float
    model: str
    languages: Mapping[str, int]
    flags: Mapping[str, int]
    dead_letter_reasons: Mapping[str, int]
    enriched_ms: Mapping[str, float]
    aggregated_ms: Mapping[str, float]
    topic_names: Mapping[str, str]
    opinions: Opinions
    planted_at: datetime | None

    @property
    def events_per_s(self) -> float:
        """Records with an outcome per second, from the first send to the last outcome."""
        return (self.produced + self.tombstones) / self.seconds

    def summary(self) -> dict[str, Any]:
        """The last line of the demo; `produced` counts records with a value, tombstones stand apart."""
        return {
            "produced": self.produced,
            "analysed": self.analysed,
            "dead_lettered": self.dead_lettered,
            "tombstones": self.tombstones,
            "languages": dict(self.languages),
            "flags": dict(self.flags),
            "dead_letter_reasons": dict(self.dead_letter_reasons),
            "events_per_s": round(self.events_per_s, 1),
            "seconds": round(self.seconds, 2),
            "latency_ms": {"enriched": dict(self.enriched_ms), "aggregated": dict(self.aggregated_ms)},
            "model": self.model,
            "planted_at": self.planted_at.isoformat() if self.planted_at else None,
            "index": {
                language: {"net": point.net.value, "low": point.net.low, "high": point.net.high, "posts": point.posts}
                for language, point in self.opinions.index.items()
            },
            "movers": [
                {"key": mover.key, "volume_z": mover.volume_z, "sentiment_z": mover.sentiment_z}
                for mover in self.opinions.movers
            ],
            "alerts": [msgspec.to_builtins(alert) for alert in self.opinions.alerts],
        }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank quantiles; empty without values."""
    ordered = sorted(values)
    return {name: float(ordered[math.ceil(q * len(ordered)) - 1]) for name, q in QUANTILES.items()} if ordered else {}


def histogram_quantiles_ms(exposition: str, metric: str, labels: Mapping[str, str]) -> dict[str, float]:
    """Quantiles of a Prometheus histogram of seconds, in milliseconds: the upper bound of the bucket that holds each.

    `exposition` is what /metrics gives, in Prometheus' text format; of the metric only series with `labels` count.
    """
    buckets = sorted(_buckets(exposition, metric, labels))
    if not buckets or buckets[-1][1] == 0:
        return {}
    total, largest_s = buckets[-1][1], max((bound for bound, _ in buckets if math.isfinite(bound)), default=0.0)
    found = {name: next(bound for bound, count in buckets if count >= q * total) for name, q in QUANTILES.items()}
    return {name: round(min(bound_s, largest_s) * 1000, 1) for name, bound_s in found.items()}


def _buckets(exposition: str, metric: str, labels: Mapping[str, str]) -> list[tuple[float, float]]:
    """(upper bound in seconds, cumulative count) of each bucket."""
    found = []
    for line in exposition.splitlines():
        if match := re.fullmatch(rf"{re.escape(metric)}_bucket\{{(.*)\}} (\S+)", line):
            series = dict(re.findall(r'(\w+)="([^"]*)"', match[1]))
            if labels.items() <= series.items():
                found.append((float(series["le"]), float(match[2])))
    return found
