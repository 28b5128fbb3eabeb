"""Evaluation: figures against hand-made cases, and reports that say what was counted."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from worker.errors import BadRecord
from worker.events import Analysis, Entity, ModelRef, Probabilities, Sentiment, Topic
from worker.model.data import DataError, DataFile, held_out
from worker.model.evaluate import EvaluationError, Predict, Report, evaluate_files
from worker.model.files import evaluation_files
from worker.model.recipe import read_recipe
from worker.model.scores import Counts, count_spans, macro_f1, set_accuracy
from worker.model.topics import read_table

TOPICS = read_table()
TYPES = ("PER", "ORG", "LOC")
RECIPE = read_recipe(Path(__file__).parents[2] / "worker" / "model" / "recipes" / "analyzer.toml")


def answer(shares=(0.1, 0.8, 0.1), topic=None, entities=()) -> Analysis:
    """An analysis with these sentiment shares, this topic's column on top, and these (type, start, end) entities."""
    probabilities = {each.id: 0.9 if column == topic else 0.01 for column, each in enumerate(TOPICS.topics)}
    return Analysis(
        language="en",
        language_confidence=1.0,
        sentiment=Sentiment(
            label="neutral", confidence=max(shares), probabilities=Probabilities(*shares), abstained=False
        ),
        topic=Topic(label=TOPICS.topics[0].id, name="", confidence=0.9, probabilities=probabilities),
        entities=[Entity(type=kind, text="", start=start, end=end, confidence=1.0) for kind, start, end in entities],
        model=ModelRef("m", "m:1"),
    )


def write(path: Path, *rows: dict) -> Path:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluate(task: str, paths: list[Path], predict: Predict) -> Report:
    """Score whole files."""
    return evaluate_files([DataFile(path, task) for path in paths], predict)


def test_macro_f1_by_hand():
    """Gold 0 0 1 2 against 0 1 1 1: F1 of 2/3, 1/2 and 0, so 7/18 (what scikit-learn's macro average gives)."""
    assert macro_f1([0, 0, 1, 2], [0, 1, 1, 1]) == pytest.approx(7 / 18)


def test_macro_f1_is_over_the_classes_present():
    """A file without neutral is scored over its two classes."""
    assert macro_f1([0, 2], [0, 2]) == 1.0


def test_span_counts_are_strict():
    """A wrong border or a wrong type is a miss and a false alarm (what seqeval's strict mode counts)."""
    gold = [(0, 3, "PER"), (5, 9, "ORG"), (12, 14, "LOC")]
    counts = count_spans(gold, [(0, 3, "PER"), (5, 8, "ORG"), (12, 14, "ORG")], TYPES)
    assert counts == {"PER": Counts(1, 1, 1), "ORG": Counts(0, 2, 1), "LOC": Counts(0, 0, 1)}
    assert sum(counts.values(), Counts()).f1 == pytest.approx(1 / 3)


def test_gold_misc_is_ignored():
    """MISC is not asked for: neither missed nor a false alarm for what is found in its place."""
    counts = count_spans([(0, 3, "MISC"), (5, 9, "ORG")], [(0, 3, "PER"), (5, 9, "ORG")], TYPES)
    assert counts == {"PER": Counts(), "ORG": Counts(1, 1, 1), "LOC": Counts()}


def test_set_accuracy_credits_any_member():
    """A broad gold label is met by any topic it may mean."""
    assert set_accuracy([frozenset({1, 2}), frozenset({3})], [2, 1]) == 0.5


def test_two_class_files_are_answered_between_the_two(tmp_path):
    """Where gold has no neutral, a neutral answer counts as the likelier of the two others."""
    path = write(
        tmp_path / "sentiment/s/en.dev.jsonl", {"text": "a", "label": "negative"}, {"text": "b", "label": "positive"}
    )
    replies = {"a": answer((0.3, 0.6, 0.1)), "b": answer((0.1, 0.7, 0.2))}
    report = evaluate("sentiment", [path], lambda texts: [replies[text] for text in texts])
    assert report.metrics["macro_f1"] == 1.0


def test_the_mean_is_over_languages_and_the_worst_is_named(tmp_path):
    """Two files of one language count as one language; the lowest language is named."""
    good = [write(tmp_path / f"sentiment/{source}/en.dev.jsonl", {"text": "a", "label": "neutral"}) for source in "st"]
    bad = write(
        tmp_path / "sentiment/s/de.dev.jsonl", {"text": "a", "label": "negative"}, {"text": "b", "label": "neutral"}
    )
    report = evaluate("sentiment", [*good, bad], lambda texts: [answer() for _ in texts])
    assert report.per_language["en"]["macro_f1"] == 1.0
    assert report.per_language["de"]["macro_f1"] == pytest.approx(1 / 3, abs=1e-4)
    assert report.metrics["macro_f1"] == pytest.approx(2 / 3, abs=1e-4)
    assert report.metrics["worst_language"] == "de"
    assert report.per_source["t"]["macro_f1"] == 1.0
    assert report.per_language["de"]["rows"] == 2
    assert "| de | 33.3 | 50.0 | 2 |" in report.to_markdown()
    assert json.loads(json.dumps(report.to_json()))["rows"] == 4


def test_topics_are_restricted_to_what_the_source_can_say(tmp_path):
    """A topic outside the source's labels cannot be its answer; the best of the others counts."""
    education = next(column for column, topic in enumerate(TOPICS.topics) if topic.name == "education")
    path = write(tmp_path / "topic/ag_news_testset/en.dev.jsonl", {"text": "a", "label": "Sports"})

    def predict(texts):
        found = answer(topic=education)
        found.topic.probabilities["medtop:15000000"] = 0.5
        return [found for _ in texts]

    assert evaluate("topic", [path], predict).metrics["accuracy"] == 1.0


def test_entities_are_compared_in_the_joined_text(tmp_path):
    """Predicted offsets refer to the text as the worker reads it, borders trimmed on both sides."""
    path = write(
        tmp_path / "ner/n/en.dev.jsonl", {"tokens": ["Hi", ",", "(Anna", "!"], "tags": ["O", "O", "B-PER", "O"]}
    )
    report = evaluate("ner", [path], lambda texts: [answer(entities=[("PER", 5, 9)]) for _ in texts])
    assert report.per_language["en"] == {"precision": 1.0, "recall": 1.0, "entity_f1": 1.0, "rows": 1}


def test_refused_texts_are_counted_not_scored(tmp_path):
    """A text that the worker dead-letters appears as skipped, and so does one without text."""
    path = write(
        tmp_path / "sentiment/s/en.dev.jsonl", {"text": "a", "label": "neutral"}, {"text": "b", "label": "neutral"},
        {"text": "", "label": "neutral"},
    )  # fmt: skip
    report = evaluate("sentiment", [path], lambda texts: [BadRecord("tokenize", "text_too_long", ""), answer()])
    assert (report.rows, report.skipped) == (1, 2)


def test_only_held_out_rows_of_trained_dev_files_are_scored(tmp_path):
    """Where a recipe trains on a dev split, its training rows are not scored."""
    rows = [{"text": f"text {number}", "label": "neutral"} for number in range(100)]
    path = write(tmp_path / "sentiment/s/en.dev.jsonl", *rows)
    report = evaluate_files(
        [DataFile(path, "sentiment")],
        lambda texts: [answer() for _ in texts],
        trained_on_dev=frozenset({("sentiment", "s")}),
    )
    assert report.rows == sum(held_out(row["text"]) for row in rows) < 100


def test_a_capped_file_is_sampled_not_cut(tmp_path):
    """A file sorted by label keeps all its labels under a cap, and the same rows in every run."""
    rows = [
        {"text": f"{label} {i}", "label": label} for label in ("negative", "neutral", "positive") for i in range(50)
    ]
    path = write(tmp_path / "sentiment/s/en.dev.jsonl", *rows)
    asked = []

    def predict(texts):
        asked.append(texts)
        return [answer() for _ in texts]

    for _ in range(2):
        assert evaluate_files([DataFile(path, "sentiment")], predict, max_rows=30).rows == 30
    assert asked[0] == asked[1]
    assert {text.split()[0] for text in asked[0]} == {"negative", "neutral", "positive"}


def test_unmapped_topic_labels_are_skipped_and_counted(tmp_path):
    """A gold label that the table maps to nothing is neither right nor wrong."""
    rows = [{"text": "a", "label": "Sports"}, {"text": "b", "label": "no such label"}]
    path = write(tmp_path / "topic/ag_news_testset/en.test.jsonl", *rows)
    report = evaluate("topic", [path], lambda texts: [answer() for _ in texts])
    assert (report.rows, report.skipped) == (1, 1)


def test_files_of_another_task_are_refused(tmp_path):
    """Mixing tasks is an error, and a row of another task's form is named with its line."""
    path = write(tmp_path / "ner/n/en.dev.jsonl", {"tokens": ["a"], "tags": ["O"]})
    with pytest.raises(DataError, match=r"en\.dev\.jsonl:1"):
        evaluate("sentiment", [path], lambda texts: [])
    with pytest.raises(EvaluationError, match="2 tasks"):
        evaluate_files([DataFile(path, "ner"), DataFile(path, "topic")], lambda texts: [])
    with pytest.raises(EvaluationError, match="0 tasks"):
        evaluate_files([], lambda texts: [])


def test_a_data_directory_stands_for_the_dev_files_of_the_recipe(tmp_path):
    """Its sources, its languages, the dev split; nothing else that lies beside them."""
    source = RECIPE.sentiment.sources[0]
    language = (source.languages or tuple(RECIPE.languages))[0]
    folder = tmp_path / "sentiment" / source.name
    for name in (f"{language}.dev", f"{language}.train", "tlh.dev"):
        write(folder / f"{name}.jsonl.xz")
    write(tmp_path / "sentiment" / "other" / f"{language}.dev.jsonl.xz")
    found = evaluation_files("sentiment", [tmp_path], RECIPE)
    assert [file.path for file in found] == [folder / f"{language}.dev.jsonl.xz"]


def test_files_and_other_folders_stand_for_themselves(tmp_path):
    """Files of any name and place; the dev and test files below a folder; each once; a path without any is an error."""
    named = write(tmp_path / "umsab" / "de.jsonl")
    test = write(tmp_path / "umsab" / "de.test.jsonl.xz")
    write(tmp_path / "umsab" / "de.train.jsonl.xz")
    found = evaluation_files("sentiment", [named, tmp_path, test], RECIPE)
    assert [(file.path, file.source, file.language, file.split) for file in found] == [
        (named, "umsab", "de", ""),
        (test, "umsab", "de", "test"),
    ]
    with pytest.raises(EvaluationError, match="no labelled file"):
        evaluation_files("sentiment", [tmp_path / "absent"], RECIPE)
