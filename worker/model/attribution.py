"""Integrated gradients of a head's answer on the word embeddings (Sundararajan et al. 2017), through captum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from numpy.typing import NDArray
from torch import Tensor

from worker.analysis.prepare import Window
from worker.model.network import MultiTaskBert
from worker.model.wide import WideTable

Head = Literal["sentiment", "topic"]
Floats = NDArray[np.float64]

STEPS = (32, 64, 128, 256)
"""Points of the path: more only where fewer leave a gap. Near the masked text the score bends sharply."""
TOLERANCE = 0.05
"""The gap that is accepted: this share of the difference to be explained, and not under `LEAST_GAP`."""
LEAST_GAP = 0.05  # of a logit
ROWS = 32  # points run together


@dataclass(frozen=True)
class Attribution:
    """What each of a text's N tokens adds to the score of one label, float64 [N].

    The score is the label's logit less the mean of the other labels' logits, of the text as the worker reads it: the
    mean over windows by token count. `tokens` sums to `score - baseline_score`, but for `gap`.
    """

    tokens: Floats
    score: float
    baseline_score: float  # of the same text with every token masked

    @property
    def gap(self) -> float:
        """How far the sum is from the difference that it explains, in logits."""
        return float(self.tokens.sum()) - (self.score - self.baseline_score)


@dataclass(frozen=True)
class Specials:
    """How many special tokens stand around each window, and the token that stands for "no word"."""

    prefix: int
    suffix: int
    mask_id: int


def attribute(
    network: MultiTaskBert, windows: Sequence[Window], specials: Specials, head: Head, label: int
) -> Attribution:
    """Attribute the score of column `label` of a head to the tokens of all windows of one text.

    The path goes from the text with every token masked, special tokens kept, to the text. A token of two windows gets
    what it adds in both. Steps are doubled until a window's gap is within TOLERANCE, and the smallest
    gap stands.
    """
    total = sum(window.length for window in windows)
    size = windows[-1].first + windows[-1].length - specials.prefix - specials.suffix
    found = Attribution(np.zeros(size), 0.0, 0.0)
    for window in windows:
        part, share = _of_window(network, window, specials, head, label), window.length / total
        found.tokens[window.first : window.first + len(part.tokens)] += share * part.tokens
        found = Attribution(
            found.tokens,
            found.score + share * part.score,
            found.baseline_score + share * part.baseline_score,
        )
    return found


def _of_window(network: MultiTaskBert, window: Window, specials: Specials, head: Head, label: int) -> Attribution:
    ids = torch.from_numpy(window.ids.astype(np.int64))[None]
    baseline, inner = ids.clone(), slice(specials.prefix, ids.shape[1] - specials.suffix)
    baseline[:, inner] = specials.mask_id
    mask = torch.ones_like(ids)

    def score(rows: Tensor, attention_mask: Tensor) -> Tensor:
        sentiment, topic, _, _ = network(rows, attention_mask)
        return _contrast(sentiment if head == "sentiment" else topic, label)

    with torch.inference_mode():
        reached, before = (float(score(rows, mask)) for rows in (ids, baseline))
    table: Floats | float = 0.0
    if network.wide is not None and head == "topic":
        table = _contrast(_by_table(network.wide, ids, baseline, inner), label).numpy()
    method = LayerIntegratedGradients(score, network.encoder.embeddings.word_embeddings)
    tried: list[Attribution] = []
    for steps in STEPS:
        shares = method.attribute(
            ids, baseline, additional_forward_args=(mask,), n_steps=steps, internal_batch_size=ROWS
        )
        tokens = shares.sum(-1)[0, inner].detach().double().numpy() + table
        tried.append(Attribution(tokens, reached, before))
        if abs(tried[-1].gap) <= max(LEAST_GAP, TOLERANCE * abs(reached - before)):
            break
    return min(tried, key=lambda each: abs(each.gap))


def _contrast(logits: Tensor, label: int) -> Tensor:
    """The label's logit less the mean of the others': [...] of logits [..., C]."""
    own = logits[..., label]
    return own - (logits.sum(-1) - own) / (logits.shape[-1] - 1)


def _by_table(wide: WideTable, ids: Tensor, baseline: Tensor, inner: slice) -> Tensor:
    """What each inner token adds to the topics' logits by the wide part, float64 [N, K]: exact, since these are a sum.

    A special token is the same in both texts; its half of a pair with a word is the word's.
    """
    adds = (wide.adds(ids[0]) - wide.adds(baseline[0])).double()
    found = adds[inner].clone()
    found[0] += adds[: inner.start].sum(0)
    found[-1] += adds[inner.stop :].sum(0)
    return found
