"""What can be seen from outside: every log event, every metric, and the log's set-up, in one typed place.

Logs are JSON lines on stderr. A post's text is never logged; `_FORBIDDEN` drops such a field should one slip in.
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Log(StrEnum):
    """The name of every log event."""

    WORKER_STARTED = "worker_started"
    WORKER_STOPPED = "worker_stopped"
    WORKER_FAILED = "worker_failed"
    WORKER_STALLED = "worker_stalled"
    WATCHDOG_BLIND = "watchdog_blind"
    WAITING_FOR_SERVER = "waiting_for_server"
    PARTITIONS_ASSIGNED = "partitions_assigned"
    PARTITIONS_REVOKED = "partitions_revoked"
    POSITION_SOUGHT = "position_sought"
    TOPICS_CREATED = "topics_created"
    TOPICS_ACCEPTED = "topics_accepted"
    TOPICS_UNSEEN = "topics_unseen"
    DEAD_LETTERED = "dead_lettered"
    TOO_MANY_DEAD_LETTERS = "too_many_dead_letters"
    HINT_CONFLICT = "hint_conflict"
    INFERENCE_OUTAGE = "inference_outage"
    INFERENCE_RESUMED = "inference_resumed"
    BATCH_REJECTED = "batch_rejected"
    BATCHING_READ = "batching_read"
    BATCHING_PASSED_OVER = "batching_passed_over"
    STORE_OUTAGE = "store_outage"
    STORE_WARNING = "store_warning"
    SHARED_ANSWERS_AWAY = "shared_answers_away"
    FOREIGN_RECORD = "foreign_record"
    ALERTS_LEADING = "alerts_leading"
    ALERTS_NOT_LEADING = "alerts_not_leading"
    ALERTS_WAIT = "alerts_wait"
    ALERT_RAISED = "alert_raised"
    ALERT_SUPPRESSED = "alert_suppressed"
    ALERT_UNDELIVERED = "alert_undelivered"
    WEBHOOK_FAILED = "webhook_failed"
    INDEX_UNCORRECTED = "index_uncorrected"
    WINDOWS_SKIPPED = "windows_skipped"


_FORBIDDEN = frozenset({"text", "post", "value", "body", "password"})


def _drop_content(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep the text of posts and secrets out of every log line."""
    return {key: value for key, value in event.items() if key not in _FORBIDDEN}


def configure_logging(level: str) -> None:
    """Send structlog and the standard library's loggers to stderr as JSON lines.

    Args:
        level: `debug`, `info`, `warning` or `error`.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _drop_content,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def get_logger(**bound: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger with fields bound to every line it writes."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(**bound)
    return logger


REGISTRY = CollectorRegistry()

LATENCY_BUCKETS_S = tuple(round(0.002 * 1.05**step, 6) for step in range(220))
"""2 ms to 90 s in steps of 5 %, so that a percentile read from the buckets is within 5 %."""

STAGE_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

RECORDS = Counter(
    "polyvox_records_total", "Input records with an outcome.", ["outcome"], registry=REGISTRY
)  # outcome: analysed, dead_lettered, tombstone
DEAD_LETTERS = Counter("polyvox_dead_letters_total", "Dead letters published.", ["stage", "reason"], registry=REGISTRY)
DEAD_LETTER_SHARE = Gauge(
    "polyvox_dead_letter_share",
    "Share of dead letters in the window; the process ends over its limit.",
    registry=REGISTRY,
)
DEAD_LETTERS_IN_A_ROW = Gauge(
    "polyvox_dead_letters_in_a_row", "Dead letters since the last good record; as above.", registry=REGISTRY
)
STORIES = Counter(
    "polyvox_stories_total", "Posts by what they are to their story.", ["kind"], registry=REGISTRY
)  # kind: first, copy, unindexed
APPLIED = Counter("polyvox_applied_total", "Outcomes given to Redis.", ["result"], registry=REGISTRY)  # first, repeat
TOKENS = Counter("polyvox_tokens_total", "Tokens sent to inference.", ["kind"], registry=REGISTRY)  # real, padded
WINDOWS = Counter(
    "polyvox_windows_total", "Windows of texts by what answered them.", ["answer"], registry=REGISTRY
)  # answer: model, memory (the same tokens were asked before), shared (in Redis: by any worker)
SHARED_ANSWERS_MISSED = Counter(
    "polyvox_shared_answers_missed_total",
    "Windows that the shared memory was to answer and did not.",
    ["reason"],
    registry=REGISTRY,
)  # reason: unknown, broken (not what a worker writes), away
BATCH_POSTS = Histogram("polyvox_batch_windows", "Windows in one batch.", buckets=BATCH_BUCKETS, registry=REGISTRY)
STAGE_SECONDS = Histogram(
    "polyvox_stage_seconds", "Time of one batch in one stage.", ["stage"], buckets=STAGE_BUCKETS_S, registry=REGISTRY
)  # stage: prepare, infer, shared (within infer), decode, encode, stories, publish, apply
OUTCOME_LATENCY = Histogram(
    "polyvox_outcome_latency_seconds",
    "From the record's timestamp to its outcome.",
    ["stage"],
    buckets=LATENCY_BUCKETS_S,
    registry=REGISTRY,
)  # stage: enriched, aggregated
WAITING = Gauge("polyvox_waiting_records", "Records read and without an outcome.", registry=REGISTRY)
LAG = Gauge("polyvox_lag_records", "Records behind the log end.", ["topic", "partition"], registry=REGISTRY)
INFERENCE_UP = Gauge("polyvox_inference_up", "1 while inference answers.", registry=REGISTRY)
RETRIES = Counter("polyvox_retries_total", "Calls tried again.", ["target"], registry=REGISTRY)  # triton, redis

ALERTS = Counter("polyvox_alerts_total", "Alerts raised, each once.", ["kind", "direction"], registry=REGISTRY)
ALERTS_SUPPRESSED = Counter(
    "polyvox_alerts_suppressed_total",
    "Signals, and windows of keys, that could raise no alert.",
    ["reason"],
    registry=REGISTRY,
)  # reason: control (too weak among all keys), incomplete, outage, model_changed, nothing_before, repeats
ALERT_DELIVERIES = Counter(
    "polyvox_alert_deliveries_total", "Deliveries of alerts.", ["channel", "result"], registry=REGISTRY
)  # channel: kafka, webhook; result: sent, found, failed, given_up
ALERT_LEADER = Gauge("polyvox_alert_leader", "1 in the worker that reads windows and raises alerts.", registry=REGISTRY)
WINDOWS_BEHIND = Gauge(
    "polyvox_alert_windows_behind", "Settled windows that are not read; told by the leader.", registry=REGISTRY
)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
