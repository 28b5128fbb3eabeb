"""From logits to labels: sentiment, topic and entity spans of one text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from worker.analysis.bundle import Bundle
from worker.analysis.inference import Logits
from worker.analysis.prepare import Prepared
from worker.analysis.spans import decode_spans
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
        windows: the answer to each of `prepared.windows`, in order: B=1 each; T may exceed the window (padding).
        abstain_below: a sentiment of lower confidence is marked as abstained; so is that of an empty text.
    """
    weights = np.array([window.length for window in prepared.windows], np.float64)
    sentiment = _softmax(_mean([each.sentiment for each in windows], weights))
    topic = _softmax(_mean([each.topic for each in windows], weights))
    return Analysis(
        language=prepared.language,
        language_confidence=prepared.language_confidence,
        sentiment=_sentiment(sentiment, abstain_below, "empty_text" in prepared.flags),
        topic=_topic(topic, bundle),
        entities=_entities(prepared, _tag_log_probabilities(prepared, windows, len(bundle.prefix_ids))),
        model=bundle.model,
        flags=list(prepared.flags),
    )


def _mean(rows: list[NDArray[np.float32]], weights: Floats) -> Floats:
    """The mean of the windows' logits by token count, [classes].

    The sentiment and topic heads are linear over the mean of the token vectors, so this is what the model would say
    of the mean over all tokens of the text; a mean of probabilities would let one confident window outvote the rest.
    """
    if len(rows) == 1:
        return rows[0][0].astype(np.float64)
    mean: Floats = np.average(np.concatenate(rows).astype(np.float64), axis=0, weights=weights)
    return mean


def _softmax(logits: Floats) -> Floats:
    exponentials: Floats = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def _sentiment(probabilities: Floats, abstain_below: float, empty: bool) -> Sentiment:
    at = int(probabilities.argmax())
    shares = [round(share, 6) for share in probabilities.tolist()]
    return Sentiment(
        label=LABELS[at],
        confidence=shares[at],
        probabilities=Probabilities(*shares),
        abstained=empty or probabilities[at] < abstain_below,
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


def _tag_log_probabilities(prepared: Prepared, windows: Sequence[Logits], prefix: int) -> Floats:
    """Log-softmax of the tags of all N tokens, [N, 7]: each from the window in which it is farthest from an edge."""
    parts, start, total = [], 0, len(prepared.starts)
    for at, (window, logits) in enumerate(zip(prepared.windows, windows, strict=True)):
        end = total
        if at + 1 < len(windows):
            own_end = window.first + len(logits_ids(window.ids, prefix))
            end = (prepared.windows[at + 1].first + own_end) // 2
        parts.append(logits.tags[0, start - window.first + prefix : end - window.first + prefix])
        start = end
    tags = np.concatenate(parts).astype(np.float64)
    tags -= tags.max(axis=1, keepdims=True, initial=-np.inf)
    log_probabilities: Floats = tags - np.log(np.exp(tags).sum(axis=1, keepdims=True))
    return log_probabilities
