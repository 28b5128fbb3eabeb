"""Sentiment per mention, measured: sentences that praise one name and blame another, and headlines with a target."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.errors import BadRecord
from worker.events import Analysis, Probabilities
from worker.model.data import read_rows
from worker.model.evaluate import Predict
from worker.model.scores import mean
from worker.model.tables import figures_table

OPPOSED = Path(__file__).parent / "recipes" / "opposed_mentions.tsv"
"""200 sentences written for polyvox, 20 in each of ten languages; none was trained on."""

SIGNS = {"positive": 1, "negative": -1}
FINANCES_LABELS = {"label": "target", "companies_sentiment": "companies", "consumers_sentiment": "consumers"}


@dataclass(frozen=True)
class Target:
    """A name in a text and what the text says of it."""

    text: str
    language: str
    name: str
    label: str  # positive or negative


@dataclass(frozen=True)
class MentionScore:
    """Shares of targets whose sign is right: by the mention's own sentiment, and by that of the whole post.

    `found`: the share of targets that the model marked as an entity; the others are answered by the post.
    """

    targets: int
    found: float
    by_mention: float
    by_post: float


def opposed_targets(path: Path = OPPOSED) -> list[Target]:
    """Both names of each sentence of a table with the columns language, positive, negative, text."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Target(row["text"], row["language"], row[label], label) for row in rows for label in SIGNS]


def finances_targets(path: Path, label: str = "label") -> Iterator[Target]:
    """The targets of a file of `finances_es`, where the text names them and the label is not neutral.

    `label`: the row's field, one of `FINANCES_LABELS`: what the headline means for its target, for companies, or for
    consumers.
    """
    for _, row in read_rows(path):
        if row.get("target") and row["target"] in row["text"] and row[label] in SIGNS:
            yield Target(row["text"], "es", row["target"], row[label])


def measured_targets(finances: Path) -> dict[str, list[Target]]:
    """The opposed mentions by language, and the targets of a file of `finances_es`, if there is one, by label."""
    sets: dict[str, list[Target]] = defaultdict(list)
    for target in opposed_targets():
        sets["opposed mentions"].append(target)
        sets[f"opposed mentions, {target.language}"].append(target)
    if finances.is_file():
        sets |= {f"finances_es, {of}": list(finances_targets(finances, label)) for label, of in FINANCES_LABELS.items()}
    return dict(sets)


def mention_table(sets: Mapping[str, Sequence[Target]], predict: Predict) -> str:
    """A row for each set of targets, as Markdown."""
    scores = {name: score_mentions(targets, predict) for name, targets in sets.items()}
    return figures_table(
        "set",
        {
            name: {
                "right by mention": each.by_mention,
                "by post": each.by_post,
                "found": each.found,
                "rows": each.targets,
            }
            for name, each in scores.items()
        },
    )


def score_mentions(targets: Sequence[Target], predict: Predict) -> MentionScore:
    """Ask once for each text, and compare the signs."""
    texts = list(dict.fromkeys(target.text for target in targets))
    answers = {
        text: found for text, found in zip(texts, predict(texts), strict=True) if not isinstance(found, BadRecord)
    }
    hits: list[tuple[bool, bool, bool]] = []
    for target in targets:
        found = answers.get(target.text)
        if found is not None:
            own = own_sentiment(target, found)
            whole = found.sentiment.probabilities
            wanted = SIGNS[target.label]
            hits.append((own is not None, _sign(own or whole) == wanted, _sign(whole) == wanted))
    found_share, by_mention, by_post = (mean([float(hit[at]) for hit in hits]) for at in range(3))
    return MentionScore(len(hits), found_share, by_mention, by_post)


def own_sentiment(target: Target, found: Analysis) -> Probabilities | None:
    """The sentiment of the entity that covers the target's name, or None when none was marked there."""
    start = target.text.index(target.name)
    end = start + len(target.name)
    over = (entity for entity in found.entities if entity.start < end and start < entity.end)
    return next((entity.sentiment for entity in over), None)


def _sign(shares: Probabilities) -> int:
    return 1 if shares.positive > shares.negative else -1
