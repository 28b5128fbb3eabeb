"""Precision and recall count what they say, and the committed sample is large enough to mean something."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.entities.evaluate import Score, evaluate, link_gold, read_sentences
from worker.entities.link import Linker
from worker.entities.table import load_aliases
from worker.events import Entity
from worker.settings import REPOSITORY

SAMPLE = REPOSITORY / "samples" / "entities.tsv"
APPLE, CHINA = "cik:0000320193", "iso3166:CN"


def entity(text: str, start: int, entity_id: str | None) -> Entity:
    return Entity(type="ORG", text=text, start=start, end=start + len(text), confidence=1.0, id=entity_id)


def test_errors_are_counted_by_what_they_are(tmp_path: Path) -> None:
    """Right: the id on the span; wrong: an id nobody labelled; missed: a label nobody gave; another id is both."""
    path = tmp_path / "sample.tsv"
    path.write_text(
        f"# a comment\ntune\ten\t[Apple:ORG={APPLE}] in [China:LOC={CHINA}] for [Tim:PER=-] and an apple\n",
        encoding="utf-8",
    )
    [sentence] = read_sentences(path)
    assert sentence.text == "Apple in China for Tim and an apple"
    given = [
        entity("Apple", 0, APPLE),
        entity("China", 9, "iso3166:TW"),
        entity("Tim", 19, None),
        entity("apple", 30, APPLE),
    ]
    report = evaluate([sentence], [given])
    assert report.total == report.languages["en"] == Score(right=1, wrong=2, missed=1)
    assert report.kinds == {"company": Score(right=1, wrong=1), "place": Score(wrong=1, missed=1)}
    assert (report.total.precision, report.total.recall) == (1 / 3, 1 / 2)
    assert Score().precision is None


def test_the_sample_is_as_large_as_promised() -> None:
    """300 mentions and more in ten languages and more, both halves alike."""
    sentences = read_sentences(SAMPLE)
    assert sum(len(each.gold) for each in sentences) >= 300
    assert len({each.language for each in sentences}) >= 10
    halves = [sum(len(each.gold) for each in sentences if each.split == split) for split in ("tune", "held")]
    assert max(halves) / min(halves) < 1.2


@pytest.mark.parametrize("split", ["tune", "held"])
def test_linking_is_as_good_as_it_was(split: str) -> None:
    """With labelled mentions nearly every id is right; `docs/entities.md` has the figures."""
    linker = Linker(load_aliases())
    sentences = [each for each in read_sentences(SAMPLE) if each.split == split]
    total = evaluate(sentences, link_gold(linker, sentences)).total
    assert (total.precision or 0) >= 0.98
    assert (total.recall or 0) >= 0.95


def test_a_line_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A half that nobody knows is named."""
    path = tmp_path / "sample.tsv"
    path.write_text("all\ten\ttext\n", encoding="utf-8")
    with pytest.raises(ValueError, match="unknown split 'all'"):
        read_sentences(path)
