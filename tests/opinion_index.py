"""Tallies, matrices and observations for tests of the index and of shifts."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from worker.opinion.cells import Cell
from worker.opinion.index.correction import Confusions
from worker.opinion.index.point import Estimate, IndexPoint
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.words import Key, Observation, Span

MODEL = "analyzer:1.0.0+aaaaaaaa"
SOCIAL = ((112, 23, 5, 39), (21, 136, 15, 41), (5, 24, 89, 24))
FINANCIAL = ((63, 6, 2, 8), (9, 119, 19, 7), (8, 19, 98, 16))
POOLED = ((856, 228, 86, 163), (302, 899, 192, 208), (136, 212, 779, 173))
CONFUSIONS = Confusions.of(
    [
        ("en", "social", SOCIAL, False),
        ("en", "financial", FINANCIAL, False),
        ("de", "social", POOLED, True),
    ]
)
KEY = Key("language_topic", ("en", "medtop:04000000"))


def cell(language: str = "en", source_class: str = "social", topic: str = "t", model: str = MODEL) -> Cell:
    return Cell(source_class, language, topic, model)


def independent(*labels: float) -> Tally:
    """Posts of weight 1, each a cluster of its own."""
    return Tally(*labels, cluster_squares=sum(labels))


def observation(at: int, value: float, *, variance: float = 0.02, model: Sequence[str] = (MODEL,)) -> Observation:
    """The `at`-th window of 300 s."""
    flat = Estimate(value=1 / 3, low=0.0, high=1.0)
    point = IndexPoint(
        net=Estimate(value=value, low=-1.0, high=1.0),
        negative=flat,
        neutral=flat,
        positive=flat,
        unbounded_net=value,
        sampling_variance=variance,
        matrix_variance=0.001,
        posts=80.0,
        effective_posts=80.0,
    )
    return Observation(key=KEY, span=Span(at * 300, at * 300 + 300), point=point, model_versions=tuple(model))


counts = st.integers(0, 300).map(float)
tallies = st.builds(independent, counts, counts, counts, counts)
cells = st.builds(
    cell, st.sampled_from(["en", "de", "pl"]), st.sampled_from(["social", "financial"]), st.sampled_from("abc")
)
sides = st.dictionaries(cells, tallies, min_size=1, max_size=12).filter(
    lambda side: any(tally.weight for tally in side.values())
)
