"""Records for the rows: posts in many scripts, tombstones, and poison, drawn from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

PHRASES = (
    "Guten Tag aus Köln, das war ein großartiger Abend.",
    "The company reported record profits in London.",
    "Überraschend schwach: die Aktie verliert 12 % 📉",
    "شركة التقنية أعلنت نتائجها اليوم",
    "これは本当に素晴らしい製品です。",
    "שלום world 世界, три языка сразу",
    "😀🎉🔥",
    "क्या बढ़िया मैच था आज!",
    "Que decepción, no vuelvo a comprar aquí…",
    "今天的天气真不错，我们去公园吧。",
)
DATE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Made:
    """A record to send, and why it must become a dead letter; None for one that must not."""

    value: bytes | None
    reason: str | None = None


def _post(number: int, text: str, published_at: str) -> bytes:
    post = {"id": f"p{number}", "source": "fault", "published_at": published_at, "text": text}
    return json.dumps(post, ensure_ascii=False).encode()


POISON = (
    Made(b"not json", "not_json"),
    Made(b'{"id": "1", "source": "s", "published_at": "2026-01-01T00:00:00Z", "text": "\xff"}', "bad_utf8"),
    Made(b'{"id": "1"}', "missing_field"),
    Made(_post(0, "wort " * 200_000, DATE), "text_too_long"),
)


def posts(count: int, random: Random) -> Iterator[Made]:
    """Good posts of one to three phrases."""
    now = datetime.now(UTC).isoformat()
    for number in range(count):
        yield Made(_post(number, " ".join(random.choices(PHRASES, k=random.randint(1, 3))), now))


def unlike(count: int, random: Random) -> Iterator[Made]:
    """Good posts of which hardly two have the same text: a worker has no answer to them, and no story."""
    now = datetime.now(UTC).isoformat()
    for number in range(count):
        words = " ".join(f"{random.getrandbits(32):x}" for _ in range(6))
        yield Made(_post(number, f"{random.choice(PHRASES)} {words}", now))


def with_poison(count: int, share: float, random: Random) -> Iterator[Made]:
    """Posts, as many tombstones as poison, and of the whole a share of poison of each kind in turn."""
    bad = 0
    for made in posts(count, random):
        drawn = random.random()
        if drawn < share:
            yield POISON[bad % len(POISON)]
            bad += 1
        elif drawn < 2 * share:
            yield Made(None)
        else:
            yield made
