"""What an index is weighed with: a fixed mix of languages and source classes, so that no change of mix moves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from worker.opinion.cells import Cell
from worker.opinion.index.tally import LABELS, Tally
from worker.opinion.index.weighed import known_better


class Stratum(NamedTuple):
    """Posts that the model reads equally well, and whose share in the mix is fixed."""

    language: str
    source_class: str


class Share(msgspec.Struct, frozen=True):
    """A stratum in the standard.

    Args:
        weight: its fixed weight; all weights of a standard sum to 1.
        labels: shares of the four labels that it usually has; they sum to 1.
        posts: the weight of the posts that `labels` is known from.
    """

    stratum: Stratum
    weight: float
    labels: tuple[float, float, float, float]
    posts: float


class Standard(msgspec.Struct, frozen=True):
    """The fixed mix of one key.

    A stratum that is not in the standard does not count until the standard is learned anew; one that is empty in a
    window is taken to have moved as the others have (see `weighed`), and the point says how much weight that was.
    """

    shares: tuple[Share, ...]

    @classmethod
    def of(cls, tallies: Mapping[Cell, Tally]) -> Standard:
        """As things were over a stretch of time, such as the warm-up.

        Raises:
            ValueError: no posts.
        """
        strata = by_stratum(tallies)
        total = sum(tally.weight for tally in strata.values())
        if not total:
            raise ValueError("no posts to learn the mix of languages and source classes from; wait for some")
        return cls(
            tuple(
                Share(stratum, tally.weight / total, labels_of(tally), tally.weight)
                for stratum, tally in sorted(strata.items())
                if tally.weight
            )
        )

    def known_better(self, tallies: Mapping[Cell, Tally], kept: float) -> Standard:
        """The same weights, with usual labels learned from one more window.

        They were learned in hours and err, and where a window cannot give the strata their fixed weights, a change of
        mix moves the index by that error (`weigh`): it has to shrink as time goes on.

        Args:
            tallies: of the window; strata that are not in the standard are left out.
            kept: what the window leaves of the posts before it, below 1: what was usual is forgotten in time.
        """
        strata = by_stratum(tallies)
        return Standard(tuple(_with(share, strata.get(share.stratum, Tally()), kept) for share in self.shares))


def _with(share: Share, tally: Tally, kept: float) -> Share:
    usual, posts = known_better(
        np.array(share.labels), np.array(share.posts), np.array(tally[:LABELS], dtype=np.float64), kept
    )
    return Share(share.stratum, share.weight, tuple(usual.tolist()), float(posts))


def labels_of(tally: Tally) -> tuple[float, float, float, float]:
    """Shares of negative, neutral, positive and abstained of a tally with posts."""
    negative, neutral, positive, abstained = (part / tally.weight for part in tally[:LABELS])
    return negative, neutral, positive, abstained


def by_stratum(tallies: Mapping[Cell, Tally]) -> dict[Stratum, Tally]:
    """Topics and model versions summed."""
    strata: dict[Stratum, Tally] = {}
    for cell, tally in tallies.items():
        stratum = Stratum(cell.language, cell.source_class)
        strata[stratum] = strata.get(stratum, Tally()).plus(tally)
    return strata
