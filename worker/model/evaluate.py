"""Measure a model on labelled files: one report per task, as JSON and as Markdown."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

from worker.errors import BadRecord
from worker.events import Analysis
from worker.model.certainty import Certainty, certainty_of, certainty_table, join
from worker.model.data import DataFile, Example, held_out, read_labelled, stable_hash
from worker.model.measure import Measured, measure
from worker.model.reliability import CoveragePoint, coverage, verdicts
from worker.model.scores import Counts, mean
from worker.model.tables import class_table, coverage_table, figures_table
from worker.model.topics import TopicTable, read_table

Predict = Callable[[Sequence[str]], list[Analysis | BadRecord]]
Progress = Callable[[int, int], None]
Figures = dict[str, float | int]
ClassFigures = dict[str, Figures]  # class -> precision, recall, f1, support
MAIN_METRIC = {"sentiment": "macro_f1", "topic": "accuracy", "ner": "entity_f1"}


class EvaluationError(ValueError):
    """The files cannot be evaluated; the message says what to give instead."""


@dataclass(frozen=True)
class FileScore:
    """One file: the metrics of its task over the rows that were answered."""

    source: str
    language: str
    split: str
    rows: int
    skipped: int  # no label of ours, no text, or refused by the model
    metrics: dict[str, float]


Scored = tuple[FileScore, Measured]


@dataclass(frozen=True)
class Report:
    """A task's figures.

    `per_language` and `per_source` hold unweighted means over files, and `rows`; `metrics` the means over languages,
    and of the main metric the `worst` and its `worst_language`. A language's `ece` is that of `reliability`, where it
    is explained. The class figures and `coverage` (of each abstention threshold) count rows, not files. Entities have
    neither `reliability` nor `coverage`.
    """

    task: str
    rows: int
    skipped: int
    metrics: dict[str, float | str]
    per_language: dict[str, Figures]
    per_source: dict[str, Figures]
    files: tuple[FileScore, ...]
    classes: ClassFigures = field(default_factory=dict)
    classes_per_language: dict[str, ClassFigures] = field(default_factory=dict)
    classes_per_source: dict[str, ClassFigures] = field(default_factory=dict)
    reliability: dict[str, Certainty] = field(default_factory=dict)
    coverage: dict[str, tuple[CoveragePoint, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The report as plain values."""
        return asdict(self)

    def to_markdown(self) -> str:
        """A table of languages, one of sources, then the mean and the worst."""
        main = MAIN_METRIC[self.task]
        worst = f"{100 * float(self.metrics['worst']):.1f} ({self.metrics['worst_language']})"
        mean_of = f"Mean {main} over languages {100 * float(self.metrics[main]):.1f}, worst {worst}"
        return "\n\n".join(
            (
                figures_table("language", self.per_language),
                figures_table("source", self.per_source),
                f"{mean_of}; {self.rows} rows, {self.skipped} skipped.",
            )
        )

    def details(self) -> str:
        """Tables of the classes and, of heads that choose a class, of calibration and coverage."""
        parts = [
            figures_table("class", self.classes),
            class_table("language", self.classes_per_language),
            class_table("source", self.classes_per_source),
        ]
        if self.reliability:
            parts += [certainty_table(self.reliability), coverage_table(self.coverage)]
        return "\n\n".join(part for part in parts if part)


def evaluate_files(
    files: Iterable[DataFile],
    predict: Predict,
    max_rows: int | None = None,
    trained_on_dev: frozenset[tuple[str, str]] = frozenset(),
    progress: Progress | None = None,
) -> Report:
    """Score the files of one task.

    Args:
        files: what to score.
        predict: the model.
        max_rows: so many rows of each file, a fixed sample.
        trained_on_dev: (task, source) pairs (a recipe's `trained_on_dev()`) of whose dev files only the held-out rows
            are scored.
        progress: is told how many files are done, and of how many.

    Raises:
        EvaluationError: the files are of more than one task, or hold nothing to score.
        DataError: a row cannot be read.
    """
    found = list(files)
    tasks = {file.task for file in found}
    if len(tasks) != 1:
        raise EvaluationError(
            f"the files are of {len(tasks)} tasks ({', '.join(sorted(tasks)) or 'none'}); give the files of one"
        )
    topics = read_table()
    scored = []
    for done, file in enumerate(found, 1):
        examples, skipped = sampled_examples(file, topics, max_rows, trained_on_dev)
        scored += _score_file(file, examples, skipped, predict, topics)
        if progress:
            progress(done, len(found))
    if not scored:
        raise EvaluationError(f"no usable row in {len(found)} files; are their labels in the topic table?")
    return _report(tasks.pop(), scored)


def sampled_examples(
    file: DataFile, topics: TopicTable, max_rows: int | None, trained_on_dev: frozenset[tuple[str, str]]
) -> tuple[list[Example], int]:
    """The rows to score, and how many have no label of ours or no text."""
    rows = list(read_labelled(file, topics))
    found = [example for example in rows if example is not None]
    skipped = len(rows) - len(found)
    if file.split == "dev" and (file.task, file.source) in trained_on_dev:
        found = [example for example in found if held_out(example.text)]
    if max_rows is None or len(found) <= max_rows:
        return found, skipped
    # Not the first rows: some sources are sorted by label. By their hash: the same rows in every run.
    return sorted(found, key=lambda example: stable_hash(example.text))[:max_rows], skipped


def _score_file(
    file: DataFile, examples: list[Example], skipped: int, predict: Predict, topics: TopicTable
) -> list[Scored]:
    if not examples:
        return []
    outcomes = predict([example.text for example in examples])
    answered = [
        (example, found) for example, found in zip(examples, outcomes, strict=True) if isinstance(found, Analysis)
    ]
    measured = measure(file, answered, topics)
    skipped += len(examples) - len(answered)
    score = FileScore(file.source, file.language, file.split, len(answered), skipped, measured.metrics)
    return [(score, measured)]


def _report(task: str, scored: list[Scored]) -> Report:
    scores = [score for score, _ in scored]
    by_language, by_source = _grouped(scored, "language"), _grouped(scored, "source")
    per_language, per_source = ({name: _means(found) for name, found in by.items()} for by in (by_language, by_source))
    main = MAIN_METRIC[task]
    worst = min(per_language, key=lambda language: per_language[language][main])
    metrics: dict[str, float | str] = {
        name: round(mean([found[name] for found in per_language.values()]), 4) for name in scores[0].metrics
    }
    metrics |= {"worst": per_language[worst][main], "worst_language": worst}
    joined = {language: join([measured.judged for _, measured in found]) for language, found in by_language.items()}
    judged = {language: rows for language, rows in joined.items() if rows is not None}
    reliability = {language: certainty_of(rows) for language, rows in judged.items()}
    for language, certainty in reliability.items():
        per_language[language]["ece"] = certainty.ece
    return Report(
        task=task,
        rows=sum(score.rows for score in scores),
        skipped=sum(score.skipped for score in scores),
        metrics=metrics,
        per_language=per_language,
        per_source=per_source,
        files=tuple(scores),
        classes=_classes(scored),
        classes_per_language={language: _classes(found) for language, found in by_language.items()},
        classes_per_source={source: _classes(found) for source, found in by_source.items()},
        reliability=reliability,
        coverage={language: coverage(*verdicts(rows.probabilities, rows.gold)) for language, rows in judged.items()},
    )


def _grouped(scored: list[Scored], key: str) -> dict[str, list[Scored]]:
    groups: dict[str, list[Scored]] = defaultdict(list)
    for each in scored:
        groups[getattr(each[0], key)].append(each)
    return dict(groups)


def _means(scored: list[Scored]) -> Figures:
    scores = [score for score, _ in scored]
    means = {name: round(mean([score.metrics[name] for score in scores]), 4) for name in scores[0].metrics}
    return {**means, "rows": sum(score.rows for score in scores)}


def _classes(scored: list[Scored]) -> ClassFigures:
    """The classes of all these files, their counts added up; in the order of the head's columns."""
    totals: dict[str, Counts] = defaultdict(Counts)
    for _, measured in scored:
        for name, counts in measured.classes.items():
            totals[name] += counts
    return {
        name: {
            "precision": round(counts.precision, 4),
            "recall": round(counts.recall, 4),
            "f1": round(counts.f1, 4),
            "support": counts.gold,
        }
        for name, counts in totals.items()
    }
