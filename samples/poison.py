"""Build `poison.jsonl`: records that break what reads them, one a line, sent as they are.

    python samples/poison.py

What becomes of each is written beside it and in `README.md`; `tests/unit/test_samples.py` holds the decoder to it.
A record of a megabyte is not stored: the tests make it.
"""

import json
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_name("poison.jsonl")
Outcome = Literal["dead letter", "event", "tombstone"]


def post(case: str, **fields: object) -> bytes:
    """Return a valid post but for `fields`; a field that is None is left out."""
    text = "An ordinary sentence about the weather."
    known = {"id": f"poison-{case}", "source": "poison", "author": "reader_000", "published_at": "2026-11-20T10:00:00Z"}
    fields = {**known, "text": text, **fields}
    kept = {key: value for key, value in fields.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


CASES: dict[str, tuple[Outcome, bytes]] = {
    "not-json": ("dead letter", b'{"id":"poison-not-json","text":"cut off in the mid'),
    "not-an-object": ("dead letter", b'["id","poison-not-an-object"]'),
    "bad-utf8": ("dead letter", post("bad-utf8", text="caf#").replace(b"#", b"\xe9\xff")),
    "lone-surrogate": ("dead letter", post("lone-surrogate", text="half a pair: #").replace(b"#", rb"\ud83d")),
    "missing-text": ("dead letter", post("missing-text", text=None)),
    "wrong-type": ("dead letter", post("wrong-type", text=42)),
    "bad-date": ("dead letter", post("bad-date", published_at="yesterday at noon")),
    "date-in-2099": ("event", post("date-in-2099", published_at="2099-01-01T00:00:00Z")),
    "empty-text": ("event", post("empty-text", text="")),
    "only-emoji": ("event", post("only-emoji", text="👍🏽🔥😂❤️‍🔥")),
    "right-to-left": ("event", post("right-to-left", text="قالت شركة Apple إن iPhone 17 متاح في דובאי و東京 الآن 🎉")),
    "invisible": ("event", post("invisible", text="\ufeffGood\u200b morning\u2060 Zu\u0308rich\u202e!\a\0")),
    "unknown-hint": ("event", post("unknown-hint", language="klingon!!", text="Der Zug hat heute leider Verspätung.")),
    "null": ("tombstone", b"null"),
}


if __name__ == "__main__":
    FILE.write_bytes(b"".join(value + b"\n" for _, value in CASES.values()))
