"""No author speaks for all: the weight of one author in a window is capped, from per-author sums. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.opinion.cells import Cell, Measures
from worker.opinion.index.tally import Tally
from worker.opinion.reader import Cells

AuthorCells = Mapping[str, Mapping[Cell, Measures]]


@dataclass(frozen=True, slots=True)
class Capped:
    """Weighted labels.

    Args:
        cells: by cell, of which none is a copy's.
        authors: how many authors' weights were cut.
    """

    cells: dict[Cell, Tally]
    authors: int


def capped(cells: Cells, authors: AuthorCells, most: float) -> Capped:
    """Scale each author down to at most `most` posts, in all cells alike, and count authors as clusters.

    An author in several cells counts as a cluster in each of them. Whoever is not listed is taken to have one post.

    Args:
        cells: all posts that count, authors' included.
        authors: what listed authors wrote; mentions of a form that was lost for a while can be more than in `cells`.
        most: the weight of one author in the window, in posts.
    """
    weights = {cell: [float(count) for count in measures[:4]] for cell, measures in cells.items()}
    squares = {cell: float(measures.analysed) for cell, measures in cells.items()}
    cut = 0
    for of_author in authors.values():
        written = sum(measures.analysed for cell, measures in of_author.items() if cell in weights)
        if written <= 1 <= most:  # most authors: as it would be without being listed
            continue
        factor = min(1.0, most / written)
        cut += factor < 1.0
        for cell, measures in of_author.items():
            if cell in weights:
                for label in range(4):
                    weights[cell][label] -= (1.0 - factor) * measures[label]
                squares[cell] += (factor * measures.analysed) ** 2 - measures.analysed
    tallies = {}
    for cell, labels in weights.items():
        negative, neutral, positive, abstained = (max(0.0, weight) for weight in labels)
        tallies[cell] = Tally(negative, neutral, positive, abstained, max(0.0, squares[cell]))
    return Capped(tallies, cut)
