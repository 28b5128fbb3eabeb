"""Alerts for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.alert_event import (
    Alert,
    AlertKey,
    Contrast,
    Contributions,
    Direction,
    Estimate,
    Evidence,
    WindowCompleteness,
    alert_id,
)

START = datetime(2026, 11, 20, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def alert(number: int = 0, language: str = "de", direction: Direction = "down") -> Alert:
    """An alert of the window `number` hours after `START`."""
    key = AlertKey(kind="language_topic", language=language, topic="medtop:04000000")
    start = START + number * HOUR
    return Alert(
        alert_id=alert_id(key, direction, int(start.timestamp()), 1),
        key=key,
        direction=direction,
        window_start=start,
        window_end=start + HOUR,
        since=start - HOUR,
        raised_at=start + HOUR + timedelta(minutes=5),
        before=Estimate(0.10, 0.05, 0.15),
        after=Estimate(-0.12, -0.2, -0.04),
        moved=-0.22,
        contributions=Contributions(sentiment=-0.2, language_mix=0.0, source_mix=-0.02, topic_mix=0.0),
        evidence=Evidence(false_per_day=0.001, false_alerts_per_day=1.0, posts=210.0, keys=40),
        completeness=WindowCompleteness(
            received=1000, analysed=998, abstained=3, dead_lettered=2, too_late=0, share=0.998
        ),
        model_versions=["1.0.0+aaaaaaaa"],
        contrasts=[
            Contrast(kind="term", name="strike", z=5.0, before=3, after=40),
            Contrast(kind="entity", name="acme", z=4.2, before=9, after=33),
        ],
        related=[AlertKey(kind="source_class", source_class="social")],
        examples=["post-1", "post-2"],
    )
