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


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """A word, entity or topic that tells the time after a shift from the time before.

    Args:
        kind: what `name` is.
        z: log-odds ratio in standard errors (Monroe et al. 2008); above 0 it is more frequent after.
        before, after: how often it was found, in posts of this key that were looked at.
    """

    kind: Literal["term", "entity", "topic"]
    name: str
    z: float
    before: int
    after: int


class WindowCompleteness(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole window, when it was read: what was analysed of what was received."""

    received: int
    analysed: int
    abstained: int
    dead_lettered: int
    too_late: int
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0, description="analysed of received; 1 without records")]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why this is no chance, and how often all detectors may be wrong.

    Args:
        false_per_day: how often a day one such key alone would say so by chance; less is stronger.
        false_alerts_per_day: what the installation declares, all keys together.
        posts: as many independent posts the key had after the shift.
        keys: how many keys are watched.
    """

    false_per_day: float
    false_alerts_per_day: float
    posts: float
    keys: int


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A shift of one key's sentiment index, as it was when its window settled; later posts never change it.

    Args:
        window_start, window_end: the window in which it was decided.
        since: when the shift began, as estimated.
        before, after: the index over the time before `since` and from then to the window's end.
        moved: the change that `contributions` add up to; each side with its own mix, so not `after` minus `before`.
        related: other keys that shifted in the same window and share posts with this one.
    """

    schema_version: Literal[1] = 1
    alert_id: str
    key: AlertKey
    direction: Direction
    window_start: Timestamp
    window_end: Timestamp
    since: Timestamp
    raised_at: Timestamp
    before: Estimate
    after: Estimate
    moved: float
    contributions: Contributions
    evidence: Evidence
    completeness: WindowCompleteness
    model_versions: list[str]
    contrasts: list[Contrast] = []
    related: list[AlertKey] = []
    examples: Annotated[list[str], msgspec.Meta(max_length=MAX_EXAMPLES, description="post ids")] = []
    annotations: list[str] = []


def alert_id(key: AlertKey, direction: Direction, window_start_s: int, epoch: int) -> str:
    """The same whenever the same window raises it again: 128 bits of BLAKE2b, in hex.

    Args:
        key: whose index shifted.
        direction: where to.
        window_start_s: first second of the window, Unix.
        epoch: how often the key's detector has started anew.
    """
    parts = (key.kind, key.language, key.topic, key.entity, key.source_class, direction)
    place = "\x1f".join([*(part or "" for part in parts), str(window_start_s), str(epoch)])
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
