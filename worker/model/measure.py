"""What the answers to one file are worth: the metrics of its task, and what reports are summed up from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worker.analysis.spans import trim
from worker.events import Analysis
from worker.model.data import NEUTRAL, SPAN_TYPES, DataFile, Example
from worker.model.network import SENTIMENT_LABELS
from worker.model.reliability import Bools, Floats, Ints
from worker.model.scores import Counts, count_spans, macro_f1, set_accuracy
from worker.model.topics import TopicTable

Answered = list[tuple[Example, Analysis]]
FLOOR = {"sentiment": 5e-7, "topic": 5e-5}  # half the last digit of an answer's probabilities


class TopicsError(ValueError):
    """The model's topics are not those of the table that maps the sources' labels."""


@dataclass(frozen=True)
class Judged:
    """The answers of a head that chooses one of C classes, N rows.

    Classes that the file's labels cannot name have probability 0, and the others sum to 1: what the model answers
    among those that could be right. `gold` holds every class that the row's label may mean.
    """

    probabilities: Floats  # [N, C]
    gold: Bools  # [N, C]
    whole: bool  # whether the file's labels can name every sentiment

    @property
    def predicted(self) -> Ints:
        """int64 [N], the likeliest class."""
        best: Ints = self.probabilities.argmax(axis=1)
        return best


@dataclass(frozen=True)
class Measured:
    """One file's answers: its metrics, the counts of each class, and the rows that judge the confidence."""

    metrics: dict[str, float]
    classes: dict[str, Counts]
    judged: Judged | None  # None for entities


def measure(file: DataFile, answered: Answered, topics: TopicTable) -> Measured:
    """The figures of the rows that were answered."""
    if file.task == "ner":
        return _measure_entities(answered)
    if file.task == "sentiment":
        judged = judge_sentiment(answered)
        gold, predicted = judged.gold.argmax(axis=1).tolist(), judged.predicted.tolist()
        accuracy = set_accuracy([frozenset({label}) for label in gold], predicted)
        names: Sequence[str] = SENTIMENT_LABELS
        metrics = {"macro_f1": macro_f1(gold, predicted), "accuracy": accuracy}
    else:
        answered, topics = _in_the_models_topics(answered, topics)
        judged = judge_topics(answered, topics, file.source)
        names = [topic.id for topic in topics.topics]
        allowed = [example.topic or frozenset() for example, _ in answered]
        metrics = {"accuracy": set_accuracy(allowed, judged.predicted.tolist())}
    return Measured(metrics, class_counts(judged, names), judged)


def _in_the_models_topics(answered: Answered, topics: TopicTable) -> tuple[Answered, TopicTable]:
    """Rows and table in the label set of the model: the table's own, or the one with parents for their children."""
    known = answered[0][1].topic.probabilities if answered else {}
    if not any(parent.id in known for parent in topics.parents):
        return answered, topics
    column = topics.merged_columns()
    rows = [
        (replace(example, topic=frozenset(column[each] for each in example.topic or ())), found)
        for example, found in answered
    ]
    return rows, topics.merged()


def judge_sentiment(answered: Answered) -> Judged:
    """Over the classes of the file; one without neutral rows is answered between the two others."""
    labels = [example.sentiment for example, _ in answered]
    whole = NEUTRAL in labels
    columns = range(len(SENTIMENT_LABELS))
    shares = [[getattr(found.sentiment.probabilities, name) for name in SENTIMENT_LABELS] for _, found in answered]
    gold = [[label == column for column in columns] for label in labels]
    nameable = np.array([whole or column != NEUTRAL for column in columns])
    return _judged(shares, gold, nameable, FLOOR["sentiment"], whole)


def judge_topics(answered: Answered, topics: TopicTable, source: str) -> Judged:
    """Over the topics that the source's labels can mean; TopicsError when the model lacks one of the table."""
    columns = range(len(topics.topics))
    try:
        shares = [[found.topic.probabilities[topic.id] for topic in topics.topics] for _, found in answered]
    except KeyError as error:
        raise TopicsError(f"the model knows no topic {error}: it was trained on another table of topics") from None
    gold = [[column in (example.topic or ()) for column in columns] for example, _ in answered]
    expressible = topics.expressible(source)
    nameable = np.array([column in expressible for column in columns])
    return _judged(shares, gold, nameable, FLOOR["topic"], whole=True)


def _judged(shares: list[list[float]], gold: list[list[bool]], nameable: Bools, floor: float, whole: bool) -> Judged:
    shape = (len(shares), len(nameable))
    kept = np.where(nameable, np.maximum(np.array(shares, np.float64).reshape(shape), floor), 0.0)
    return Judged(kept / kept.sum(axis=1, keepdims=True), np.array(gold, np.bool_).reshape(shape), whole)


def class_counts(judged: Judged, names: Sequence[str]) -> dict[str, Counts]:
    """The counts of each class that is answered or was to be.

    A label of several classes counts for the one answered when that is among them; else it is a false alarm for the
    answer and a miss of no class, since which one was missed is not known.
    """
    predicted = judged.predicted
    met = judged.gold[np.arange(len(predicted)), predicted]
    alone = judged.gold.sum(axis=1) == 1
    found = {}
    for column, name in enumerate(names):
        answered = predicted == column
        hits = int((answered & met).sum())
        missed = int((judged.gold[:, column] & alone & ~met).sum())
        found[name] = Counts(hits, int(answered.sum()), hits + missed)
    return {name: counts for name, counts in found.items() if counts.predicted or counts.gold}


def _measure_entities(answered: Answered) -> Measured:
    """Strict spans of PER, ORG and LOC; both sides' borders trimmed the same way."""
    classes = dict.fromkeys(SPAN_TYPES, Counts())
    for example, found in answered:
        gold = [(*trim(example.text, start, end), kind) for start, end, kind in example.spans or ()]
        predicted = [(entity.start, entity.end, str(entity.type)) for entity in found.entities]
        for kind, counts in count_spans(gold, predicted, SPAN_TYPES).items():
            classes[kind] += counts
    total = sum(classes.values(), Counts())
    return Measured({"precision": total.precision, "recall": total.recall, "entity_f1": total.f1}, classes, None)
