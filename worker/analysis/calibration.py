"""What was learned of a model's certainty: temperatures, thresholds and confusions, as they lie beside its weights."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

FILE = "calibration.json"
OTHERS = ""
"""The key that stands for every language without figures of its own."""


class Confusion(msgspec.Struct, frozen=True):
    """How posts of a known sentiment were labelled: counts by true class (rows) and answer (columns; last: abstained).

    `rows` of fewer than 300 are too few to correct with alone: `pooled` then says that the counts are those of all
    languages of the domain.
    """

    language: str
    domain: str  # social or financial
    counts: tuple[tuple[int, int, int, int], ...]
    pooled: bool


class Calibration(msgspec.Struct, frozen=True):
    """The content of `calibration.json`; by language, `OTHERS` for the rest.

    A temperature divides a head's logits (Guo et al. 2017, arXiv 1706.04599): it never changes which class is the
    likeliest, only how sure the model says it is. `abstain_below` is a threshold on the sentiment's confidence.
    """

    sentiment: Mapping[str, float] = {}
    topic: Mapping[str, float] = {}
    tags: Mapping[str, float] = {}
    abstain_below: Mapping[str, float] = {}
    confusions: tuple[Confusion, ...] = ()

    def temperature(self, head: str, language: str) -> float:
        """What the logits of `head` (sentiment, topic, tags) are divided by; 1 without figures."""
        return _of_language(getattr(self, head), language, 1.0)

    def threshold(self, language: str) -> float:
        """The confidence under which a sentiment is marked as abstained; 0 without figures."""
        return _of_language(self.abstain_below, language, 0.0)


UNCALIBRATED = Calibration()


def _of_language(table: Mapping[str, float], language: str, default: float) -> float:
    return table.get(language, table.get(OTHERS, default))
