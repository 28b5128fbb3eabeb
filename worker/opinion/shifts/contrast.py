"""Terms and entities that tell the time after a shift from the time before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import log, sqrt

from worker.opinion.shifts.words import Contrast

PRIOR_POSTS = 50.0
"""The prior counts as so many words, split as words are in both spans together."""


def contrasts(before: Mapping[str, int], after: Mapping[str, int], n: int) -> tuple[Contrast, ...]:
    """The `n` terms that are most clearly more, or less, frequent after than before; clearest first.

    Log-odds ratios with an informative Dirichlet prior, in standard errors (Monroe, Colaresi and Quinn 2008,
    "Fightin' Words", equations 16 to 22): neither rare terms nor those frequent at all times come first.

    Args:
        before, after: how often each term or entity was seen.
    """
    both = Counter(before) + Counter(after)
    total = sum(both.values())
    totals = sum(before.values()), sum(after.values())
    if not all(totals):
        return ()
    found = []
    for term, count in both.items():
        prior = PRIOR_POSTS * count / total
        seen = before.get(term, 0), after.get(term, 0)
        odds = [
            log((k + prior) / (size + PRIOR_POSTS - k - prior)) if size + PRIOR_POSTS > k + prior else 0.0
            for k, size in zip(seen, totals, strict=True)
        ]
        spread = sqrt(sum(1 / (k + prior) for k in seen))
        found.append(Contrast(term, (odds[1] - odds[0]) / spread, *seen))
    return tuple(sorted(found, key=lambda one: (-abs(one.z), one.term))[:n])
