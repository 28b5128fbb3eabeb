"""What the index is computed from: the labels of one cell in one window, weighted and with their clusters."""

from __future__ import annotations

from typing import NamedTuple

LABELS = 4
"""The first fields of a tally: negative, neutral, positive and abstained."""


class Tally(NamedTuple):
    """Weights of the labels of one cell. Whole numbers unless an author's weight was capped.

    Args:
        negative, neutral, positive, abstained: sums of weights by the label that the model gave.
        cluster_squares: the sum over clusters of the squared sum of their weights: of labels that come from one
            author, or are copies of one story, one tells nothing new about the others. Independent posts of weight
            1 have as many clusters as posts.
    """

    negative: float = 0.0
    neutral: float = 0.0
    positive: float = 0.0
    abstained: float = 0.0
    cluster_squares: float = 0.0

    @property
    def weight(self) -> float:
        """The sum of all weights."""
        return self.negative + self.neutral + self.positive + self.abstained

    @property
    def effective_posts(self) -> float:
        """As many independent posts of weight 1 would tell as much (Kish 1965); 0 without posts."""
        return self.weight**2 / self.cluster_squares if self.cluster_squares else 0.0

    def plus(self, other: Tally) -> Tally:
        """The sum, of two tallies without a common cluster."""
        return Tally(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))
