"""From a consumed record to the record of its outcome: pure but for the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.errors import BadRecord
from worker.events import Analysis, EnrichedPost, Flag, ModelRef, Post, Story, Timings, decode_post
from worker.stream.commit import Slot
from worker.stream.records import (
    OutputRecord,
    Placed,
    Routes,
    SourceRecord,
    dead_letter_record,
    enriched_record,
    origin_of,
    tombstone_record,
)
from worker.telemetry import DEAD_LETTERS, OUTCOME_LATENCY, RECORDS, Log, get_logger


@dataclass(slots=True)
class Draft:
    """A record and what is known of it so far."""

    placed: Placed
    received_ms: int
    post: Post | None = None

    @property
    def size_bytes(self) -> int:
        """Of the record's value."""
        return len(self.placed.record.value or b"")

    @property
    def text(self) -> str:
        """The post's original text."""
        return self.post.text if self.post else ""

    @property
    def hint(self) -> str | None:
        """The publisher's language."""
        return self.post.language if self.post else None


@dataclass(frozen=True)
class Outcomes:
    """Makes the outcome of each record; every record gets exactly one here."""

    routes: Routes
    model: ModelRef
    future_tolerance_s: float

    def draft(self, record: SourceRecord, now_ms: int) -> Draft:
        """Note when and where a record was read."""
        position = self.routes.position(record)
        return Draft(Placed(record, position, position), now_ms)

    def decode(self, draft: Draft, slot: Slot[OutputRecord]) -> bool:
        """Read the post into the draft; False when the record has its outcome already (tombstone, bad record)."""
        record, position, _ = draft.placed
        if record.value is None:
            slot.outcome = tombstone_record(self.routes, draft.placed)
            return False
        try:
            draft.placed = Placed(record, position, origin_of(record, position))
            draft.post = decode_post(record.value)
        except BadRecord as why:
            slot.outcome = self.dead(draft, why)
            return False
        return True

    def dead(self, draft: Draft, why: BadRecord) -> OutputRecord:
        """The dead letter of a record."""
        _, position, origin = draft.placed
        get_logger().warning(
            Log.DEAD_LETTERED,
            event_id=origin.event_id,
            topic=position.topic,
            partition=position.partition,
            offset=position.offset,
            stage=why.stage,
            reason=why.reason,
        )
        DEAD_LETTERS.labels(stage=why.stage, reason=why.reason).inc()
        return dead_letter_record(self.routes, draft.placed, why, self.model.version)

    def enriched(self, draft: Draft, analysis: Analysis, story: Story, now_ms: int) -> OutputRecord:
        """The enriched post, or a dead letter when it is larger than the broker takes."""
        if draft.post is None:
            raise RuntimeError("a draft without its post has no analysis")
        record, position, origin = draft.placed
        event_time, clamped = self._event_time(draft.post, record.broker_ms)
        event = EnrichedPost(
            event_id=origin.event_id,
            position=position,
            source_class=self.routes.input_topics[position.topic],
            event_time=event_time,
            post=draft.post,
            language=analysis.language,
            language_confidence=analysis.language_confidence,
            sentiment=analysis.sentiment,
            topic=analysis.topic,
            entities=analysis.entities,
            model=analysis.model,
            flags=[*analysis.flags, *clamped],
            timings=Timings(broker_ms=record.broker_ms, received_ms=draft.received_ms, analysed_ms=now_ms),
            story=story,
        )
        try:
            return enriched_record(self.routes, event, draft.placed)
        except BadRecord as why:
            return self.dead(draft, why)

    def _event_time(self, post: Post, broker_ms: int) -> tuple[datetime, list[Flag]]:
        """`published_at`; the broker's time, flagged, when that lies in the future."""
        if post.published_at.timestamp() > broker_ms / 1000 + self.future_tolerance_s:
            return datetime.fromtimestamp(broker_ms / 1000, UTC), ["published_at_clamped"]
        return post.published_at, []

    def count(self, records: Sequence[OutputRecord], now_ms: int) -> None:
        """Count published outcomes and how long after their records they came."""
        latency = OUTCOME_LATENCY.labels(stage="enriched")
        for record in records:
            is_dead = record.topic == self.routes.dead_letters_topic
            outcome = "dead_lettered" if is_dead else "tombstone" if record.value is None else "analysed"
            RECORDS.labels(outcome=outcome).inc()
            latency.observe(max(0, now_ms - int(dict(record.headers)["pv-broker-ms"])) / 1000)
