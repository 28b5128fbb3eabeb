"""Calibration: fitted by language, stored in the bundle, and never a change of label."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from worker.analysis.bundle import Bundle
from worker.analysis.calibration import OTHERS, Calibration
from worker.model.calibrate import confusions, financial_sources, save, temperatures, threshold
from worker.model.measure import Judged
from worker.model.span_certainty import TEMPERATURES, Marked, errors_of, tag_temperatures

TINY = Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1"


def overconfident(rows: int, seed: int) -> Judged:
    """Answers that say 0.9 and are right in 60 % of the cases."""
    random = np.random.default_rng(seed)
    gold = np.zeros((rows, 3), np.bool_)
    truth = np.where(random.random(rows) < 0.6, 0, random.integers(1, 3, rows))
    gold[np.arange(rows), truth] = True
    return Judged(np.tile([0.9, 0.05, 0.05], (rows, 1)), gold, whole=True)


def test_an_overconfident_language_is_cooled_and_a_small_one_takes_the_common_temperature():
    """Temperatures above 1 lower the confidence; 20 rows decide nothing by themselves."""
    found = temperatures({"de": [overconfident(400, 1)], "sk": [overconfident(20, 2)]})
    assert found["de"] > 1.3
    assert "sk" not in found
    assert found[OTHERS] > 1.3


def test_the_threshold_gives_up_what_is_wrong_more_often_than_right():
    """Answers of low confidence that are mostly wrong fall under it, as long as most answers are still given."""
    confidence = np.concatenate([np.full(90, 0.9), np.full(10, 0.4)])
    correct = np.concatenate([np.ones(90, np.bool_), np.zeros(10, np.bool_)])
    assert 0.4 < threshold(confidence, correct) <= 0.8
    assert threshold(confidence, np.ones(100, np.bool_)) == 0.0


def test_few_rows_are_pooled_and_say_so():
    """The counts of all languages of a domain stand in for those of a language with fewer than 300 rows."""
    parts = {("de", "social"): [overconfident(400, 1)], ("sk", "social"): [overconfident(20, 2)]}
    german, slovak = confusions(parts, {OTHERS: 1.0}, {})
    assert (german.pooled, slovak.pooled) == (False, True)
    assert np.sum(german.counts) == 400
    assert np.sum(slovak.counts) == 420


def test_a_stored_calibration_is_what_the_worker_reads(tmp_path):
    """It is listed in the manifest, so that a changed file is noticed."""
    folder = tmp_path / "1"
    shutil.copytree(TINY, folder)
    save(folder, Calibration(sentiment={OTHERS: 1.5, "de": 2.0}, abstain_below={"de": 0.4}))
    bundle = Bundle.load(folder)
    assert bundle.calibration.temperature("sentiment", "de") == 2.0
    assert bundle.calibration.temperature("sentiment", "fr") == 1.5
    assert bundle.calibration.temperature("topic", "fr") == 1.0
    assert (bundle.calibration.threshold("de"), bundle.calibration.threshold("fr")) == (0.4, 0.0)
    assert "calibration.json" in json.loads((folder / "bundle.json").read_text())["sha256"]


def test_financial_sources_are_listed():
    """The table names them; social ones are not among them."""
    assert {"sentfin", "chabsa"} <= financial_sources()
    assert "umsab" not in financial_sources()


def mentions(rows: int, share_right: float, seed: int) -> Marked:
    """Mentions marked at 0.95 by a model that hotter tags make less sure, and of which a share is right."""
    sure = [0.34 + 0.61 / max(1.0, each) for each in TEMPERATURES]
    right = np.random.default_rng(seed).random(rows) < share_right
    return Marked([sure] * rows, right.tolist())


def test_mentions_are_as_sure_as_they_are_right():
    """The temperature brings 0.95 near the share of mentions that are right; a language with few takes that of all."""
    marked = {"en": mentions(2000, 0.7, 1), "th": mentions(20, 0.7, 2)}
    found = tag_temperatures(marked)
    assert set(found) == {OTHERS, "en"}
    assert 0.34 + 0.61 / found["en"] == pytest.approx(0.7, abs=0.05)
    before, after = errors_of(marked["en"])
    assert before > 0.2
    assert after < 0.05


def test_without_mentions_there_is_no_temperature():
    """A model that marks nothing keeps its certainty."""
    assert tag_temperatures({"en": Marked()}) == {}
