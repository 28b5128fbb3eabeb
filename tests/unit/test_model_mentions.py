"""Sentiment per mention: the measuring set is sound, and the score tells the mention's sign from the post's."""

import json
import lzma

import pytest

pytest.importorskip("torch")

from tests.unit.test_model_evaluate import answer
from worker.events import Entity, Probabilities
from worker.model.mentions import Target, measured_targets, mention_table, opposed_targets, score_mentions

UP, DOWN = Probabilities(0.1, 0.1, 0.8), Probabilities(0.8, 0.1, 0.1)


def test_the_opposed_set_has_both_names_of_200_sentences_in_ten_languages():
    """Each sentence names both, and each language has 20."""
    targets = opposed_targets()
    assert len(targets) == 400
    assert all(target.name in target.text for target in targets)
    languages = [target.language for target in targets]
    assert {languages.count(language) for language in set(languages)} == {40}
    assert len(set(languages)) == 10


def test_the_mention_counts_where_it_was_found():
    """A mention that was found answers by itself; one that was missed is answered by the post."""
    text = "Apple up, Boeing down, Fiat"
    found = answer((0.8, 0.1, 0.1))
    for name, shares in (("Apple", UP), ("Boeing", DOWN)):
        start = text.index(name)
        found.entities.append(
            Entity(type="ORG", text=name, start=start, end=start + len(name), confidence=1.0, sentiment=shares)
        )
    targets = [Target(text, "en", name, label) for name, label in (("Apple", "positive"), ("Boeing", "negative"))]
    targets.append(Target(text, "en", "Fiat", "positive"))
    score = score_mentions(targets, lambda texts: [found for _ in texts])
    assert (score.targets, score.found, score.by_mention, score.by_post) == (3, 2 / 3, 2 / 3, 1 / 3)


def test_headlines_are_judged_for_their_target_companies_and_consumers_apart(tmp_path):
    """Each label of a row is a set of its own, without the rows that it calls neutral; the table names every set."""
    row = {"text": "Fiat sube precios", "lang": "es", "target": "Fiat", "label": "positive"}
    row |= {"companies_sentiment": "positive", "consumers_sentiment": "negative"}
    quiet = row | {"label": "neutral", "companies_sentiment": "neutral"}
    path = tmp_path / "es.dev.jsonl.xz"
    path.write_bytes(lzma.compress("".join(json.dumps(each) + "\n" for each in (row, quiet)).encode()))
    sets = measured_targets(path)
    assert [len(sets[f"finances_es, {of}"]) for of in ("target", "companies", "consumers")] == [1, 1, 2]
    assert len(sets["opposed mentions"]) == 400
    said = mention_table(
        {name: sets[name] for name in sets if "finances" in name},
        lambda texts: [answer((0.1, 0.1, 0.8)) for _ in texts],
    )
    assert "| finances_es, companies | 100.0 | 100.0 | 0.0 | 1 |" in said
    assert "| finances_es, consumers | 0.0 | 0.0 | 0.0 | 2 |" in said
