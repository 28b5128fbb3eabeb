"""The figures: macro-F1, set accuracy and strict span F1, from plain lists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int, str]


def macro_f1(gold: Sequence[int], predicted: Sequence[int]) -> float:
    """The mean F1 of the classes that occur in `gold`; a class that is never predicted counts 0."""
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold labels but {len(predicted)} predictions")
    pairs = list(zip(gold, predicted, strict=True))
    classes = sorted(set(gold))
    return mean([_class_f1(pairs, label) for label in classes])


def _class_f1(pairs: list[tuple[int, int]], label: int) -> float:
    hits = sum(gold == guess == label for gold, guess in pairs)
    named = sum(guess == label for _, guess in pairs)
    wanted = sum(gold == label for gold, _ in pairs)
    return 2 * hits / (named + wanted) if named + wanted else 0.0


def set_accuracy(allowed: Sequence[frozenset[int]], predicted: Sequence[int]) -> float:
    """The share of predictions that are among what the source's label may mean."""
    return mean([float(guess in columns) for columns, guess in zip(allowed, predicted, strict=True)])


@dataclass(frozen=True)
class Counts:
    """What precision, recall and F1 are made of; of one class, or of several together."""

    hits: int = 0
    predicted: int = 0
    gold: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.hits + other.hits, self.predicted + other.predicted, self.gold + other.gold)

    @property
    def precision(self) -> float:
        """Right predictions among all predictions; 0 without any."""
        return self.hits / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Right predictions among all that were to be found; 0 without any."""
        return self.hits / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.hits / (self.predicted + self.gold) if self.predicted + self.gold else 0.0


def count_spans(gold: Iterable[Span], predicted: Iterable[Span], types: Sequence[str]) -> dict[str, Counts]:
    """Compare one text's spans, type by type; a prediction is right when start, end and type all equal a gold span's.

    Gold spans of other types (MISC) are ignored, and so are predictions that touch one.
    """
    scored = {span for span in gold if span[2] in types}
    other = [span for span in gold if span[2] not in types]
    guesses = {guess for guess in predicted if not any(guess[0] < span[1] and span[0] < guess[1] for span in other)}

    def of(kind: str, spans: set[Span]) -> int:
        return sum(span[2] == kind for span in spans)

    return {kind: Counts(of(kind, scored & guesses), of(kind, guesses), of(kind, scored)) for kind in types}


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0
