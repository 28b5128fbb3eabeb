"""Fit a bundle's calibration on labelled files: temperatures, abstention thresholds, and the confusions that remain."""

import hashlib
import json
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from worker.analysis.calibration import FILE, OTHERS, Calibration, Confusion
from worker.errors import BadRecord
from worker.model.certainty import join
from worker.model.data import DataFile
from worker.model.evaluate import EvaluationError, Predict, Progress, sampled_examples
from worker.model.licences import TABLE
from worker.model.measure import Judged, measure
from worker.model.onnx_bundle import replace_folder
from worker.model.reliability import confusion, recalibrated, temperature, verdicts
from worker.model.topics import read_table

HEADS = ("sentiment", "topic")
FEWEST_ROWS = 150
"""A language with fewer rows takes the temperature of all languages together."""
FEWEST_THREE_WAY = 300
"""Fewer three-way rows are too few to correct shares with: the domain's counts of all languages stand in."""
WORST_KEPT = 0.5
LEAST_COVERAGE = 0.85
GRID = np.arange(0.34, 0.80, 0.01)


@dataclass
class Fitted:
    """The judged rows of each head by language, and of sentiment by (language, domain)."""

    by_language: dict[str, dict[str, list[Judged]]] = field(
        default_factory=lambda: {head: defaultdict(list) for head in HEADS}
    )
    three_way: dict[tuple[str, str], list[Judged]] = field(default_factory=lambda: defaultdict(list))


def fit(
    files: Mapping[str, Sequence[DataFile]],
    predict: Predict,
    max_rows: int | None,
    trained_on_dev: frozenset[tuple[str, str]],
    progress: Progress,
) -> Calibration:
    """The calibration of the model behind `predict`, which must answer without one.

    Args:
        files: of the heads `sentiment` and `topic`.
        predict, max_rows, trained_on_dev, progress: as for `evaluate_files`.

    Raises:
        EvaluationError: a head has no row that was answered.
        DataError: a row cannot be read.
    """
    domains, topics, fitted = financial_sources(), read_table(), Fitted()
    jobs = [file for head in HEADS for file in files[head]]
    for done, file in enumerate(jobs, 1):
        examples, _ = sampled_examples(file, topics, max_rows, trained_on_dev)
        outcomes = predict([example.text for example in examples])
        pairs = zip(examples, outcomes, strict=True)
        answered = [(example, found) for example, found in pairs if not isinstance(found, BadRecord)]
        judged = measure(file, answered, topics).judged if answered else None
        if judged is not None:
            fitted.by_language[file.task][file.language].append(judged)
            if file.task == "sentiment" and judged.whole:
                domain = "financial" if file.source in domains else "social"
                fitted.three_way[file.language, domain].append(judged)
        progress(done, len(jobs))
    if empty := [head for head in HEADS if not fitted.by_language[head]]:
        raise EvaluationError(f"no usable row for {' and '.join(empty)}: a calibration of nothing is not kept")
    return _calibration(fitted)


def financial_sources(path: Path = TABLE) -> frozenset[str]:
    """The sources whose table entry says `domain = "financial"`."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    return frozenset(
        name for task in raw.values() for name, entry in task.items() if entry.get("domain") == "financial"
    )


def save(folder: Path, found: Calibration) -> None:
    """Put the calibration into a bundle, listed in its manifest; whole or not at all."""
    content = msgspec.json.format(msgspec.json.encode(found), indent=1)
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    manifest["sha256"][FILE] = hashlib.sha256(content).hexdigest()
    replace_folder(
        folder,
        {
            FILE: content,
            "bundle.json": (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode(),
        },
    )


def _calibration(fitted: Fitted) -> Calibration:
    heat = {head: temperatures(fitted.by_language[head]) for head in HEADS}
    below = {}
    for language, parts in fitted.by_language["sentiment"].items():
        rows = join([part for part in parts if part.whole])
        if rows is not None and len(rows.gold) >= FEWEST_ROWS:
            scale = heat["sentiment"].get(language, heat["sentiment"][OTHERS])
            below[language] = threshold(*verdicts(recalibrated(rows.probabilities, scale), rows.gold))
    return Calibration(
        sentiment=heat["sentiment"],
        topic=heat["topic"],
        abstain_below=below,
        confusions=confusions(fitted.three_way, heat["sentiment"], below),
    )


def temperatures(by_language: Mapping[str, Sequence[Judged]]) -> dict[str, float]:
    """A temperature for each language with enough rows, and for `OTHERS` that of all rows together."""
    everything = join([part for parts in by_language.values() for part in parts])
    found = {OTHERS: round(temperature(everything.probabilities, everything.gold), 3) if everything else 1.0}
    for language, parts in sorted(by_language.items()):
        rows = join(parts)
        if rows is not None and len(rows.gold) >= FEWEST_ROWS:
            found[language] = round(temperature(rows.probabilities, rows.gold), 3)
    return found


def threshold(confidence: np.ndarray, correct: np.ndarray) -> float:
    """The highest confidence under which fewer than half of the answers are right, while 85 % are still given."""
    best = 0.0
    for candidate in GRID.tolist():
        under = confidence < candidate
        if under.mean() > 1 - LEAST_COVERAGE:
            break
        if under.any() and correct[under].mean() < WORST_KEPT:
            best = candidate
    return round(best, 2)


def confusions(
    three_way: Mapping[tuple[str, str], Sequence[Judged]], heat: Mapping[str, float], below: Mapping[str, float]
) -> tuple[Confusion, ...]:
    """The counts of each language and domain; of all languages of the domain where there are too few rows."""
    counts = {
        key: np.sum([_counts(part, key[0], heat, below) for part in parts], axis=0) for key, parts in three_way.items()
    }
    pooled = {
        domain: np.sum([found for (_, other), found in counts.items() if other == domain], axis=0)
        for _, domain in counts
    }
    made = []
    for (language, domain), found in sorted(counts.items()):
        few = int(found.sum()) < FEWEST_THREE_WAY
        rows = (pooled[domain] if few else found).tolist()
        made.append(Confusion(language, domain, tuple(tuple(row) for row in rows), pooled=few))
    return tuple(made)


def _counts(rows: Judged, language: str, heat: Mapping[str, float], below: Mapping[str, float]) -> np.ndarray:
    shares = recalibrated(rows.probabilities, heat.get(language, heat[OTHERS]))
    abstained = shares.max(axis=1) < below.get(language, below.get(OTHERS, 0.0))
    return confusion(rows.gold.argmax(axis=1), shares.argmax(axis=1), abstained)
