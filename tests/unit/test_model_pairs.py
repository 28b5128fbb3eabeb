"""Pairs: two posts in one text, each part learned from its own tokens."""

import random

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402

from worker.model.batches import Batch  # noqa: E402
from worker.model.data import IGNORED, Example  # noqa: E402
from worker.model.losses import part_losses, sentiment_losses  # noqa: E402
from worker.model.pairs import pair_up  # noqa: E402

EXAMPLES = st.builds(
    Example,
    text=st.text("ab .!", min_size=1, max_size=200),
    language=st.sampled_from(["en", "de", "zh"]),
    source=st.just("s"),
    sentiment=st.sampled_from([0, 1, 2, None]),
)


@given(st.lists(EXAMPLES, max_size=30), st.integers(0, 99))
def test_parts_are_whole_posts_of_different_sentiment(drawn, seed):
    """The second part is a post of the same language, the first another one; a pair has no label as a whole."""
    texts = {(example.text, example.language, example.sentiment) for example in drawn}
    paired = pair_up(drawn, 0.9, random.Random(seed))
    assert len(paired) == len(drawn)
    for example in paired:
        if example.parts:
            first, second = example.parts
            assert example.sentiment is None
            assert first.sentiment != second.sentiment
            assert (first.start, first.end, second.end) == (0, second.start, len(example.text))
            assert (example.text[second.start :], example.language, second.sentiment) in texts


def test_without_a_chance_nothing_changes():
    """The recipe's default leaves the mixture alone."""
    drawn = [Example("a", "en", "s", sentiment=0), Example("b", "en", "s", sentiment=2)]
    assert pair_up(drawn, 0.0, random.Random(1)) == drawn


def batch(**fields):
    """One row of four tokens whose first two and last two are the parts."""
    empty = torch.zeros((1, 4), dtype=torch.int64)
    parts = torch.tensor([[[True, True, False, False], [False, False, True, True]]])
    whole = {"sentiment": torch.tensor([IGNORED]), "two_class": torch.tensor([False])}
    rest = {"input_ids": empty, "attention_mask": empty, "topics": torch.zeros((1, 2), dtype=torch.bool), "tags": empty}
    labels = {"part_sentiment": torch.tensor([[2, 0]]), "part_two_class": torch.zeros((1, 2), dtype=torch.bool)}
    return Batch(**{**whole, **rest, "parts": parts, **labels, **fields})


def test_each_part_learns_from_its_own_tokens():
    """The loss is the mean of the two parts' losses, each of the mean of its own tokens' logits."""
    logits = torch.randn(1, 4, 3, requires_grad=True)
    means = torch.stack([logits[0, :2].mean(0), logits[0, 2:].mean(0)])
    expected = sentiment_losses(means, torch.tensor([2, 0]), torch.zeros(2, dtype=torch.bool)).mean()
    assert part_losses(logits, batch()).item() == pytest.approx(expected.item())


def test_a_part_without_tokens_adds_nothing():
    """A second part behind the longest sequence has no label, and rows without parts no loss."""
    none = torch.full((1, 2), IGNORED)
    logits = torch.randn(1, 4, 3, requires_grad=True)
    empty = batch(part_sentiment=none, parts=torch.zeros((1, 2, 4), dtype=torch.bool))
    losses = part_losses(logits, empty)
    losses.sum().backward()
    assert losses.item() == 0.0
    assert not logits.grad.any()
