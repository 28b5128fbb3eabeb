"""From logits to labels: sentiment, topic and entity spans of one text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from worker.analysis.bundle import Bundle
from worker.analysis.clauses import Clauses
from worker.analysis.inference import Logits
from worker.analysis.prepare import Prepared
from worker.analysis.spans import decode_spans, trim
from worker.events import Analysis, Entity, Label, Probabilities, Sentiment, Topic

LABELS: tuple[Label, ...] = get_args(Label)
Floats = NDArray[np.float64]


def split_rows(logits: Logits) -> list[Logits]:
    """One `Logits` of B=1 per row of a batch (views, no copies)."""
    arrays = (logits.sentiment, logits.topic, logits.tags, logits.token_sentiment)
    return [Logits(*(array[at : at + 1] for array in arrays)) for at in range(len(logits.sentiment))]


def decode(prepared: Prepared, windows: Sequence[Logits], bundle: Bundle, abstain_below: float) -> Analysis:
    """Make the analysis of one text; see `decode_many`."""
    [analysis] = decode_many([(prepared, windows)], bundle, abstain_below)
    return analysis


def decode_many(
    texts: Sequence[tuple[Prepared, Sequence[Logits]]], bundle: Bundle, abstain_below: float
) -> list[Analysis]:
    """Make the analysis of each text; together, since eight posts one by one take 1.7 times as long.

    Args:
        texts: each text with the answer to each of its windows, in order: B=1 each; T may exceed the window (padding).
        bundle: the model that answered.
        abstain_below: a sentiment of lower confidence is marked as abstained, as is one under the model's own threshold
            for the language, and that of an empty text.
    """
    if not texts:
        return []
    lengths = np.array([window.length for prepared, _ in texts for window in prepared.windows], np.float64)
    firsts = [0, *accumulate(len(windows) for _, windows in texts[:-1])]
    answers = [answer for _, windows in texts for answer in windows]
    languages, calibration = [prepared.language for prepared, _ in texts], bundle.calibration
    scales = {
        head: np.array([calibration.temperature(head, language) for language in languages])
        for head in ("sentiment", "topic")
    }
    sentiments = _shares(
        _means([each.sentiment for each in answers], lengths, firsts) / scales["sentiment"][:, None], 6
    )
    topics = _shares(_means([each.topic for each in answers], lengths, firsts) / scales["topic"][:, None], 4)
    return [
        Analysis(
            language=prepared.language,
            language_confidence=round(prepared.language_confidence, 4),
            sentiment=_sentiment(
                *sentiment,
                max(abstain_below, calibration.threshold(prepared.language)),
                "empty_text" in prepared.flags,
            ),
            topic=_topic(*topic, bundle),
            entities=_entities(prepared, windows, bundle),
            model=bundle.model,
            flags=list(prepared.flags),
        )
        for (prepared, windows), sentiment, topic in zip(texts, sentiments, topics, strict=True)
    ]


def _means(rows: list[NDArray[np.float32]], lengths: Floats, firsts: list[int]) -> Floats:
    """The mean of the logits of each text's windows by token count, [texts, classes].

    The sentiment and topic heads are linear over the mean of the token vectors, so this is what the model would say
    of the mean over all tokens of the text (a wide part's logits are averaged with it); a mean of probabilities would
    let one confident window outvote the rest.
    """
    sums = np.add.reduceat(np.concatenate(rows) * lengths[:, None], firsts, axis=0)
    means: Floats = sums / np.add.reduceat(lengths, firsts)[:, None]
    return means


def _shares(logits: Floats, digits: int) -> list[tuple[int, list[float]]]:
    """The likeliest class and the rounded probabilities of each row of logits."""
    shares = _softmax(logits)
    return list(zip(shares.argmax(axis=1).tolist(), shares.round(digits).tolist(), strict=True))


def _softmax(logits: Floats) -> Floats:
    exponentials: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return shares


def _sentiment(best: int, shares: list[float], abstain_below: float, empty: bool) -> Sentiment:
    return Sentiment(
        label=LABELS[best],
        confidence=shares[best],
        probabilities=Probabilities(*shares),
        abstained=empty or shares[best] < abstain_below,
    )


def _topic(best: int, shares: list[float], bundle: Bundle) -> Topic:
    return Topic(
        label=bundle.topics[best].id,
        name=bundle.topics[best].name,
        confidence=shares[best],
        probabilities=dict(zip(bundle.topic_ids, shares, strict=True)),
    )


def _entities(prepared: Prepared, windows: Sequence[Logits], bundle: Bundle) -> list[Entity]:
    """The mentions as spans of the original text, trimmed, in order and apart from each other."""
    prefix = len(bundle.prefix_ids)
    owners = _owners(prepared, prefix + len(bundle.suffix_ids))
    tags = _of_tokens([each.tags for each in windows], owners, prefix)
    # When every token alone says "outside" no word can say otherwise: most texts end here.
    if not tags.argmax(axis=1).any():
        return []
    text = prepared.normalised.text
    clauses, temperature = Clauses(text), bundle.calibration.temperature("sentiment", prepared.language)
    sentiments = _of_tokens([each.token_sentiment for each in windows], owners, prefix)
    entities: list[Entity] = []
    certainty = bundle.calibration.temperature("tags", prepared.language)
    for span in decode_spans(text, prepared.starts, prepared.ends, _log_softmax(tags), certainty):
        start, end = trim(prepared.text, *prepared.normalised.to_original(span.start, span.end))
        # Two spans inside one replaced stretch, such as a masked link, map to the same place.
        if start < end and (not entities or entities[-1].end <= start):
            found = prepared.text[start:end]
            said = clauses.around(span.start, span.end)
            entities.append(
                Entity(
                    type=span.type,
                    text=found,
                    start=start,
                    end=end,
                    confidence=round(span.confidence, 4),
                    sentiment=_clause_sentiment(sentiments, prepared, said, temperature),
                )
            )
    return entities


def _clause_sentiment(
    sentiments: NDArray[np.float32], prepared: Prepared, clause: tuple[int, int], temperature: float
) -> Probabilities:
    """What the sentiment head says of the mean of a clause's tokens; see `Logits` for why a mean of logits is that."""
    inside = (prepared.starts < clause[1]) & (prepared.ends > clause[0]) & (prepared.starts < prepared.ends)
    logits = sentiments[inside].mean(axis=0, dtype=np.float64)
    return Probabilities(*_softmax(logits / temperature).round(4).tolist())


def _owners(prepared: Prepared, specials: int) -> list[tuple[int, int, int]]:
    """For each window, its first token and the [start, end) of the tokens it answers for.

    A token of two windows belongs to the one in which it is farther from an edge: the border is half-way through what
    they share.
    """
    firsts = [window.first for window in prepared.windows]
    ends = [window.first + window.length - specials for window in prepared.windows]
    borders = [0, *((end + first) // 2 for end, first in zip(ends, firsts[1:], strict=False)), ends[-1]]
    return list(zip(firsts, borders, borders[1:], strict=False))


def _of_tokens(
    rows: Sequence[NDArray[np.float32]], owners: Sequence[tuple[int, int, int]], prefix: int
) -> NDArray[np.float32]:
    """The logits of all N tokens of a text, [N, C], from those of its windows, [1, T, C] each."""
    parts = [
        row[0, start - first + prefix : end - first + prefix]
        for row, (first, start, end) in zip(rows, owners, strict=True)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _log_softmax(logits: NDArray[np.float32]) -> Floats:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    log_probabilities: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities
