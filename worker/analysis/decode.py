"""From logits to labels: sentiment, topic and entity spans of one text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from worker.analysis.bundle import Bundle
from worker.analysis.inference import Logits
from worker.analysis.prepare import Prepared
from worker.analysis.spans import decode_spans, trim
from worker.events import Analysis, Entity, Label, Probabilities, Sentiment, Topic

LABELS: tuple[Label, ...] = get_args(Label)
Floats = NDArray[np.float64]


def split_rows(logits: Logits) -> list[Logits]:
    """One `Logits` of B=1 per row of a batch (views, no copies)."""
    return [
        Logits(logits.sentiment[at : at + 1], logits.topic[at : at + 1], logits.tags[at : at + 1])
        for at in range(len(logits.sentiment))
    ]


def decode(prepared: Prepared, windows: Sequence[Logits], bundle: Bundle, abstain_below: float) -> Analysis:
    """Make the analysis of one text.

    Args:
        prepared: the text and its windows.
        windows: the answer to each of `prepared.windows`, in order: B=1 each; T may exceed the window (padding).
        bundle: the model that answered.
        abstain_below: a sentiment of lower confidence is marked as abstained; so is that of an empty text.
    """
    weights = np.array([window.length for window in prepared.windows], np.float64)
    sentiment = _softmax(_mean([each.sentiment for each in windows], weights))
    topic = _softmax(_mean([each.topic for each in windows], weights))
    return Analysis(
        language=prepared.language,
        language_confidence=round(prepared.language_confidence, 4),
        sentiment=_sentiment(sentiment, abstain_below, "empty_text" in prepared.flags),
        topic=_topic(topic, bundle),
        entities=_entities(prepared, _tag_log_probabilities(prepared, windows, bundle)),
        model=bundle.model,
        flags=list(prepared.flags),
    )


def _mean(rows: list[NDArray[np.float32]], weights: Floats) -> Floats:
    """The mean of the windows' logits by token count, [classes].

    The sentiment and topic heads are linear over the mean of the token vectors, so this is what the model would say
    of the mean over all tokens of the text; a mean of probabilities would let one confident window outvote the rest.
    """
    mean: Floats = weights @ np.concatenate(rows) / weights.sum()
    return mean


def _softmax(logits: Floats) -> Floats:
    exponentials: Floats = np.exp(logits - logits.max())
    shares: Floats = exponentials / exponentials.sum()
    return shares


def _sentiment(probabilities: Floats, abstain_below: float, empty: bool) -> Sentiment:
    at = int(probabilities.argmax())
    shares = [round(share, 6) for share in probabilities.tolist()]
    return Sentiment(
        label=LABELS[at],
        confidence=shares[at],
        probabilities=Probabilities(*shares),
        abstained=empty or shares[at] < abstain_below,
    )


def _topic(probabilities: Floats, bundle: Bundle) -> Topic:
    at = int(probabilities.argmax())
    shares = [round(share, 4) for share in probabilities.tolist()]
    return Topic(
        label=bundle.topics[at].id,
        name=bundle.topics[at].name,
        confidence=shares[at],
        probabilities=dict(zip(bundle.topic_ids, shares, strict=True)),
    )


def _entities(prepared: Prepared, log_probabilities: Floats) -> list[Entity]:
    """The mentions as spans of the original text, trimmed, in order and apart from each other."""
    text = prepared.normalised.text
    entities: list[Entity] = []
    for span in decode_spans(text, prepared.starts, prepared.ends, log_probabilities):
        start, end = trim(prepared.text, *prepared.normalised.to_original(span.start, span.end))
        # Two spans inside one replaced stretch, such as a masked link, map to the same place.
        if start < end and (not entities or entities[-1].end <= start):
            found = prepared.text[start:end]
            entities.append(
                Entity(type=span.type, text=found, start=start, end=end, confidence=round(span.confidence, 4))
            )
    return entities


def _tag_log_probabilities(prepared: Prepared, windows: Sequence[Logits], bundle: Bundle) -> Floats:
    """Log-softmax of the tags of all N tokens, [N, 7]: each from the window in which it is farthest from an edge."""
    prefix = len(bundle.prefix_ids)
    specials = prefix + len(bundle.suffix_ids)
    firsts = [window.first for window in prepared.windows]
    ends = [window.first + window.length - specials for window in prepared.windows]
    # A token of two windows belongs to the nearer middle: the border is half-way through what they share.
    borders = [0, *((end + first) // 2 for end, first in zip(ends, firsts[1:], strict=False)), ends[-1]]
    parts = [
        each.tags[0, start - first + prefix : end - first + prefix]
        for each, first, start, end in zip(windows, firsts, borders, borders[1:], strict=False)
    ]
    tags = np.concatenate(parts).astype(np.float64)
    tags -= tags.max(axis=1, keepdims=True)
    log_probabilities: Floats = tags - np.log(np.exp(tags).sum(axis=1, keepdims=True))
    return log_probabilities
