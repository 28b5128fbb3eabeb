"""How sure a mention should be: a temperature for the tags, so that of mentions at 0.8 four in five are right."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worker.analysis.calibration import OTHERS
from worker.analysis.spans import trim
from worker.errors import BadRecord
from worker.events import Entity
from worker.model.data import SPAN_TYPES, DataFile, Example
from worker.model.evaluate import Progress, sampled_examples
from worker.model.reliability import Bools, Floats, ece
from worker.model.topics import read_table

SpansAt = Callable[[Sequence[str], Sequence[float]], list[list[list[Entity]] | BadRecord]]
"""For each text, its mentions at each temperature."""

TEMPERATURES = tuple(round(float(each), 3) for each in np.geomspace(0.5, 8.0, 17))
FEWEST_SPANS = 150
"""A language with fewer marked mentions takes the temperature of all languages together."""
MOST_ROWS = 300
"""Of each file: the mentions of so many sentences are enough for one parameter, and each is read 17 times."""
SUREST = 0.9995


@dataclass
class Marked:
    """The mentions that a model marked in a language: confidence at each of `TEMPERATURES`, and whether it is right."""

    confidences: list[list[float]] = field(default_factory=list)  # [mentions][temperatures]
    right: list[bool] = field(default_factory=list)

    def arrays(self) -> tuple[Floats, Bools]:
        """float64 [temperatures, mentions] and bool [mentions]."""
        return np.array(self.confidences, np.float64).reshape(-1, len(TEMPERATURES)).T, np.array(self.right, np.bool_)


def mark_files(
    files: Sequence[DataFile],
    spans_at: SpansAt,
    max_rows: int | None,
    trained_on_dev: frozenset[tuple[str, str]],
    progress: Progress,
) -> dict[str, Marked]:
    """The mentions that a model marks in files of the task `ner`, by language; right when type and borders are gold's.

    Raises:
        DataError: a row cannot be read.
    """
    topics, marked = read_table(), defaultdict[str, Marked](Marked)
    rows = MOST_ROWS if max_rows is None else min(max_rows, MOST_ROWS)
    for done, file in enumerate(files, 1):
        examples, _ = sampled_examples(file, topics, rows, trained_on_dev)
        found = spans_at([example.text for example in examples], TEMPERATURES)
        for example, at_each in zip(examples, found, strict=True):
            if not isinstance(at_each, BadRecord):
                _add(marked[file.language], example, at_each)
        progress(done, len(files))
    return dict(marked)


def _add(marked: Marked, example: Example, at_each: list[list[Entity]]) -> None:
    """The mentions of one text; a temperature changes their confidence, not which there are."""
    gold = {(*trim(example.text, start, end), kind) for start, end, kind in example.spans or ()}
    for mention in zip(*at_each, strict=True):
        if mention[0].type in SPAN_TYPES:
            marked.confidences.append([entity.confidence for entity in mention])
            marked.right.append((mention[0].start, mention[0].end, str(mention[0].type)) in gold)


def tag_temperatures(marked: Mapping[str, Marked]) -> dict[str, float]:
    """The temperature of least log loss for each language with enough mentions, and for `OTHERS` that of all."""
    everything = Marked(
        [row for each in marked.values() for row in each.confidences],
        [right for each in marked.values() for right in each.right],
    )
    if not everything.right:
        return {}
    languages = {language: each for language, each in sorted(marked.items()) if len(each.right) >= FEWEST_SPANS}
    return {name: TEMPERATURES[best_of(each)] for name, each in {OTHERS: everything, **languages}.items()}


def best_of(marked: Marked) -> int:
    """Where in `TEMPERATURES` the mean -log of the probability given to what is true is lowest."""
    confidences, right = marked.arrays()
    given = np.clip(np.where(right, confidences, 1 - confidences), 1 - SUREST, SUREST)
    return int(np.argmin(-np.log(given).mean(axis=1)))


def errors_of(marked: Marked) -> tuple[float, float]:
    """The calibration error of the confidences as they are, and at a temperature that the other half chose."""
    confidences, right = marked.arrays()
    plain = ece(confidences[TEMPERATURES.index(1.0)], right)
    half = np.random.default_rng(0).permutation(len(right)) % 2 == 0
    fitted = np.empty(len(right))
    for part in (half, ~half):
        rest = Marked(confidences[:, ~part].T.tolist(), right[~part].tolist())
        fitted[part] = confidences[best_of(rest), part]
    return plain, ece(fitted, right)
