"""The model card: figures, base, sources and their terms, all from the recipe and the reports."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from worker.model import card
from worker.model.evaluate import FileScore, Report
from worker.model.licences import SourceTableError
from worker.model.loop import RunLogError, read_lines
from worker.model.pictures import curves
from worker.model.recipe import read_recipe

RECIPE = read_recipe(Path(card.__file__).parent / "recipes" / "analyzer.toml")
REPORT = Report(
    task="sentiment",
    rows=10,
    skipped=0,
    metrics={"macro_f1": 0.7, "accuracy": 0.8, "worst": 0.6, "worst_language": "de"},
    per_language={"en": {"macro_f1": 0.8, "accuracy": 0.9}, "de": {"macro_f1": 0.6, "accuracy": 0.7}},
    per_source={"umsab": {"macro_f1": 0.7, "accuracy": 0.8}},
    files=(FileScore("umsab", "en", "dev", 10, 0, {"macro_f1": 0.8}),),
)
FACTS = card.Facts("1.0.0", "polyvox model evaluate", "An hour.", max_rows=300, mentions="| opposed | 70.0 | 50.0 |")


def test_the_card_says_what_a_user_must_know():
    """Each language's figure, the mean, the worst, the command, the cap, the base, and every source with its terms."""
    text = card.model_card([REPORT], RECIPE, FACTS)
    assert "| de | 60.0 | 70.0 |" in text
    assert "Mean macro_f1 over languages 70.0, worst 60.0 (de); 10 rows, 0 skipped." in text
    assert "polyvox model evaluate" in text
    assert "at most 300 rows" in text
    assert "not Google's" in text
    assert FACTS.mentions in text
    assert all(source.name in text for task in RECIPE.tasks().values() for source in task.sources)
    assert "$" not in text


def test_restricted_sources_are_named_on_top():
    """A source that is not free for commercial use appears in the non-commercial statement, a free one does not."""
    statement = next(line for line in card.model_card([REPORT], RECIPE, FACTS).splitlines() if "Non-commercial" in line)
    assert "fin_phrasebank" in statement
    assert "wikineural" in statement
    assert "wisesight" not in statement


def test_a_source_without_a_licence_entry_stops_the_card():
    """A source added to the recipe without reading its licence is an error, not an omission."""
    task = replace(RECIPE.topic, sources=(replace(RECIPE.topic.sources[0], name="new_source"),))
    with pytest.raises(SourceTableError, match=r"topic\.new_source"):
        card.model_card([REPORT], replace(RECIPE, topic=task), FACTS)


def test_the_curves_of_the_run_lie_beside_the_card(tmp_path):
    """A small PNG, linked; what a resumed run logged twice is drawn once."""
    log = tmp_path / "train.jsonl"
    steps = [*range(100, 3000, 100), *range(2500, 40_000, 100)]
    log.write_text(
        "".join(
            json.dumps({"step": step, "examples": 32 * step, "loss": dict.fromkeys(("sentiment", "ner"), 1 / step)})
            + "\n"
            for step in steps
        )
    )
    lines = read_lines(log)
    assert [line.step for line in lines] == sorted({*steps})
    path = tmp_path / "MODEL_CARD.md"
    card.write_card(path, [REPORT], RECIPE, replace(FACTS, curves=curves(lines)))
    picture = tmp_path / card.CURVES
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 60_000
    assert f"({card.CURVES})" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [None, "", "{", '{"step": 100}\n', "[]\n"])
def test_a_log_that_is_none_is_refused(content, tmp_path):
    """The file is named, and what to give."""
    if content is not None:
        (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(RunLogError, match=r"train\.jsonl"):
        read_lines(tmp_path / "train.jsonl")
