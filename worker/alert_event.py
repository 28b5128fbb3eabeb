"""The event that an alert is: the value of a record in `alerts`, the `data` of a webhook, a schema in `schemas/`.

It names posts by their ids and holds no text of them but single words that set the window apart.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from worker.events import Timestamp

KeyKind = Literal["language_topic", "entity", "source_class"]
Direction = Literal["down", "up"]

MAX_EXAMPLES = 5


class AlertKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose index shifted: the fields that its kind names are set."""

    kind: KeyKind
    language: str | None = None
    topic: str | None = None
    entity: str | None = None
    source_class: str | None = None

    @property
    def name(self) -> str:
        """For people: `de / medtop:04000000`, `acme`, `social`."""
        parts = (self.language, self.topic, self.entity, self.source_class)
        return " / ".join(part for part in parts if part is not None)


class Estimate(msgspec.Struct, frozen=True):
    """A sentiment index, -1 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float


class Contributions(msgspec.Struct, frozen=True, kw_only=True):
    """What each cause adds to the change of the unweighted net sentiment; Shapley values, their sum is the change."""

    sentiment: float
    language_mix: float
    source_mix: float
    topic_mix: float

    @property
    def total(self) -> float:
        """The change that is explained."""
        return self.sentiment + self.language_mix + self.source_mix + self.topic_mix

    def ranked(self) -> list[tuple[str, float]]:
        """Cause and share of the change, largest first."""
        found = [(name, float(getattr(self, name))) for name in self.__struct_fields__]
        return sorted(found, key=lambda each: -abs(each[1]))


class Contrast(msgspec.Struct, frozen=True):
    """A word or entity that the window has more (score above 0) or less often than before, in standard deviations.

    Source of the score: log-odds with an informative Dirichlet prior (Monroe et al. 2008).
    """

    name: str
    score: float


class WindowCompleteness(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole window, when it was read: what was analysed of what was received."""

    received: int
    analysed: int
    abstained: int
    dead_lettered: int
    too_late: int
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0, description="analysed of received; 1 without records")]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why the detector spoke, in its own units, and how often all detectors speak falsely."""

    statistic: float
    limit: float
    posts: float
    false_alerts_per_day: float


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A shift of one key's sentiment index, as it was when its window settled; later posts never change it."""

    schema_version: Literal[1] = 1
    alert_id: str
    key: AlertKey
    direction: Direction
    window_start: Timestamp
    window_end: Timestamp
    raised_at: Timestamp
    before: Estimate
    after: Estimate
    contributions: Contributions
    evidence: Evidence
    completeness: WindowCompleteness
    model_versions: list[str]
    entities: list[Contrast] = []
    terms: list[Contrast] = []
    examples: Annotated[list[str], msgspec.Meta(max_length=MAX_EXAMPLES, description="post ids")] = []
    annotations: list[str] = []


def alert_id(key: AlertKey, direction: Direction, window_start_s: int, epoch: str) -> str:
    """The same whenever the same window raises it again: 128 bits of BLAKE2b, in hex.

    Args:
        key: whose index shifted.
        direction: where to.
        window_start_s: first second of the window, Unix.
        epoch: names the detectors and what they are set to; other detectors speak for themselves.
    """
    parts = (key.kind, key.language, key.topic, key.entity, key.source_class, direction, str(window_start_s), epoch)
    place = "\x1f".join(part or "" for part in parts)
    return hashlib.blake2b(place.encode(), digest_size=16).hexdigest()


_decoder = msgspec.json.Decoder(Alert)


def encode_alert(alert: Alert) -> bytes:
    """The JSON value of an alert."""
    return msgspec.json.encode(alert)


def decode_alert(value: bytes | str) -> Alert:
    """Read an alert.

    Raises:
        msgspec.DecodeError: not an `Alert` of this or an older schema version.
    """
    return _decoder.decode(value)
