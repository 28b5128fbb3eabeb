"""How a language's confidence compares with its accuracy, from the rows of all its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worker.model.measure import Judged
from worker.model.reliability import Bin, bins, cross_fitted, ece, ece_interval, verdicts
from worker.model.tables import figures_table


@dataclass(frozen=True)
class Certainty:
    """A language's calibration, over all the rows that judge it; intervals are of 95 %.

    The answers judged are those among the classes that each file's labels can name, and the confidence is the share
    within these. `three_way`: see `join`. `cross_fitted_ece` is after a temperature that was fitted on other rows.
    """

    rows: int
    three_way: bool
    ece: float
    ece_interval: tuple[float, float]
    cross_fitted_ece: float
    cross_fitted_interval: tuple[float, float]
    bins: tuple[Bin, ...]


def join(parts: Sequence[Judged | None]) -> Judged | None:
    """The rows that judge a language's confidence; None without any.

    Of sentiment, those of files with all three classes: only they say whether a confidence is right as it is served.
    A language without such files is judged by its two-class ones.
    """
    found = [part for part in parts if part is not None and len(part.gold)]
    found = [part for part in found if part.whole] or found
    if not found:
        return None
    probabilities = np.concatenate([part.probabilities for part in found])
    return Judged(probabilities, np.concatenate([part.gold for part in found]), found[0].whole)


def certainty_of(rows: Judged) -> Certainty:
    """The figures of at least one row."""
    served = verdicts(rows.probabilities, rows.gold)
    refitted = verdicts(cross_fitted(rows.probabilities, rows.gold), rows.gold)
    return Certainty(
        rows=len(rows.gold),
        three_way=rows.whole,
        ece=round(ece(*served), 4),
        ece_interval=_rounded(ece_interval(*served)),
        cross_fitted_ece=round(ece(*refitted), 4),
        cross_fitted_interval=_rounded(ece_interval(*refitted)),
        bins=bins(*served),
    )


def _rounded(interval: tuple[float, float]) -> tuple[float, float]:
    return round(interval[0], 4), round(interval[1], 4)


def certainty_table(languages: Mapping[str, Certainty]) -> str:
    """A row for each language; those judged by two-class files are marked."""
    groups: dict[str, dict[str, float | int]] = {}
    for language, found in languages.items():
        (low, high), (fitted_low, fitted_high) = found.ece_interval, found.cross_fitted_interval
        groups[language if found.three_way else f"{language} (two-class)"] = {
            "ece": found.ece,
            "from": low,
            "to": high,
            "cross-fitted ece": found.cross_fitted_ece,
            "from ": fitted_low,
            "to ": fitted_high,
            "rows": found.rows,
        }
    return figures_table("language", groups)
