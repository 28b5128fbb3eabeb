"""Measure a model on labelled files: one report per task, as JSON and as Markdown."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from worker.analysis.spans import trim
from worker.errors import BadRecord
from worker.events import Analysis
from worker.model.data import NEUTRAL, SPAN_TYPES, DataFile, Example, held_out, read_examples, stable_hash
from worker.model.network import SENTIMENT_LABELS
from worker.model.scores import SpanCounts, count_spans, macro_f1, mean, set_accuracy
from worker.model.topics import TopicTable, read_table

Predict = Callable[[Sequence[str]], list[Analysis | BadRecord]]
Progress = Callable[[int, int], None]
Answered = list[tuple[Example, Analysis]]
MAIN_METRIC = {"sentiment": "macro_f1", "topic": "accuracy", "ner": "f1"}


class EvaluationError(ValueError):
    """The files cannot be evaluated; the message says what to give instead."""


@dataclass(frozen=True)
class FileScore:
    """One file: the metrics of its task over the rows that were answered."""

    source: str
    language: str
    split: str
    rows: int
    skipped: int  # the model refused the text
    metrics: dict[str, float]


@dataclass(frozen=True)
class Report:
    """A task's figures.

    `metrics` holds the main metric's `mean` over languages and its `worst` (with `worst_language`); `per_language` and
    `per_source` are unweighted means over files.
    """

    task: str
    rows: int
    skipped: int
    metrics: dict[str, float | str]
    per_language: dict[str, dict[str, float]]
    per_source: dict[str, dict[str, float]]
    files: tuple[FileScore, ...]

    def to_json(self) -> dict[str, object]:
        """The report as plain values."""
        return asdict(self)

    def to_markdown(self) -> str:
        """A table of languages, then the mean and the worst."""
        main = MAIN_METRIC[self.task]
        rows = [
            (lang, *(f"{100 * value:.1f}" for value in found.values()))
            for lang, found in sorted(self.per_language.items())
        ]
        names = list(next(iter(self.per_language.values()), {}))
        lines = ["| language | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        worst = f"{100 * float(self.metrics['worst']):.1f} ({self.metrics['worst_language']})"
        lines.append(
            f"\nMean {main} over languages {100 * float(self.metrics['mean']):.1f}, worst {worst}; {self.rows} rows."
        )
        return "\n".join(lines)


def evaluate_files(
    paths: Iterable[Path],
    predict: Predict,
    max_rows: int | None = None,
    trained_on_dev: frozenset[tuple[str, str]] = frozenset(),
    progress: Progress | None = None,
) -> Report:
    """Score the files of one task, named `<task>/<source>/<language>.<split>.jsonl.xz`.

    max_rows: so many rows of each file, a fixed sample. trained_on_dev: (task, source) pairs (a recipe's
    `trained_on_dev()`) of whose dev files only the held-out rows are scored. EvaluationError when the files are of
    more than one task, or hold nothing to score.
    """
    files = [DataFile(path) for path in paths]
    tasks = {file.task for file in files}
    if len(tasks) != 1:
        raise EvaluationError(
            f"the files are of {len(tasks)} tasks ({', '.join(sorted(tasks)) or 'none'}); give the files of one"
        )
    topics = read_table()
    scores = []
    for done, file in enumerate(files, 1):
        scores += _score_file(file, _examples(file, topics, max_rows, trained_on_dev), predict, topics)
        if progress:
            progress(done, len(files))
    if not scores:
        raise EvaluationError(f"no usable row in {len(files)} files; are their labels in the topic table?")
    return _report(tasks.pop(), scores)


def evaluate(task: str, paths: Iterable[Path], predict: Predict) -> Report:
    """`evaluate_files` over whole files, refusing files of another task than `task`."""
    found = list(paths)
    other = next((path for path in found if DataFile(path).task != task), None)
    if other is not None:
        raise EvaluationError(f"{other} is not a {task} file (its folder says {DataFile(other).task})")
    return evaluate_files(found, predict)


def _examples(
    file: DataFile, topics: TopicTable, max_rows: int | None, trained_on_dev: frozenset[tuple[str, str]]
) -> list[Example]:
    examples: Iterable[Example] = read_examples(file, topics)
    if file.split == "dev" and (file.task, file.source) in trained_on_dev:
        examples = (example for example in examples if held_out(example.text))
    found = list(examples)
    if max_rows is None or len(found) <= max_rows:
        return found
    # Not the first rows: some sources are sorted by label. By their hash: the same rows in every run.
    return sorted(found, key=lambda example: stable_hash(example.text))[:max_rows]


def _score_file(file: DataFile, examples: list[Example], predict: Predict, topics: TopicTable) -> list[FileScore]:
    if not examples:
        return []
    outcomes = predict([example.text for example in examples])
    answered = [
        (example, found) for example, found in zip(examples, outcomes, strict=True) if isinstance(found, Analysis)
    ]
    if file.task == "sentiment":
        metrics = sentiment_metrics(answered)
    elif file.task == "topic":
        metrics = topic_metrics(answered, topics, file.source)
    else:
        metrics = ner_metrics(answered)
    return [FileScore(file.source, file.language, file.split, len(answered), len(examples) - len(answered), metrics)]


def sentiment_metrics(answered: Answered) -> dict[str, float]:
    """Macro-F1 over the classes of the file; a file without neutral rows is answered between the two others."""
    gold = [example.sentiment for example, _ in answered if example.sentiment is not None]
    classes = [column for column in range(len(SENTIMENT_LABELS)) if column != NEUTRAL or NEUTRAL in gold]
    predicted = []
    for _, found in answered:
        shares = [getattr(found.sentiment.probabilities, label) for label in SENTIMENT_LABELS]
        predicted.append(max(classes, key=shares.__getitem__))
    accuracy = mean([float(a == b) for a, b in zip(gold, predicted, strict=True)])
    return {"macro_f1": macro_f1(gold, predicted), "accuracy": accuracy}


def topic_metrics(answered: Answered, topics: TopicTable, source: str) -> dict[str, float]:
    """Set accuracy, the answer restricted to the topics that the source's labels can mean."""
    column = {topic.id: index for index, topic in enumerate(topics.topics)}
    expressible = topics.expressible(source)
    predicted = []
    for _, found in answered:
        shares = {column[ident]: share for ident, share in found.topic.probabilities.items()}
        predicted.append(max(expressible, key=shares.__getitem__))
    return {"accuracy": set_accuracy([example.topic or frozenset() for example, _ in answered], predicted)}


def ner_metrics(answered: Answered) -> dict[str, float]:
    """Strict span precision, recall and F1 over PER, ORG and LOC; both sides' borders trimmed the same way."""
    counts = SpanCounts()
    for example, found in answered:
        gold = [(*trim(example.text, start, end), kind) for start, end, kind in example.spans or ()]
        predicted = [(entity.start, entity.end, str(entity.type)) for entity in found.entities]
        counts += count_spans(gold, predicted, SPAN_TYPES)
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _report(task: str, scores: list[FileScore]) -> Report:
    per_language = _means(scores, lambda score: score.language)
    main = MAIN_METRIC[task]
    worst = min(per_language, key=lambda language: per_language[language][main])
    metrics: dict[str, float | str] = {
        "metric": main,
        "mean": round(mean([found[main] for found in per_language.values()]), 4),
        "worst": per_language[worst][main],
        "worst_language": worst,
    }
    rows, skipped = sum(score.rows for score in scores), sum(score.skipped for score in scores)
    return Report(task, rows, skipped, metrics, per_language, _means(scores, lambda score: score.source), tuple(scores))


def _means(scores: list[FileScore], key: Callable[[FileScore], str]) -> dict[str, dict[str, float]]:
    groups: Mapping[str, list[FileScore]] = defaultdict(list)
    for score in scores:
        groups[key(score)].append(score)
    return {
        name: {metric: round(mean([score.metrics[metric] for score in found]), 4) for metric in found[0].metrics}
        for name, found in groups.items()
    }
