"""The losses: sets of topics, two-class sentiment, masked tags, each against a value worked out by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from worker.model.data import IGNORED, NEUTRAL  # noqa: E402 - after the skip
from worker.model.losses import sentiment_losses, tag_losses, topic_losses  # noqa: E402
from worker.model.topics import TopicTableError, read_table, set_loss  # noqa: E402


def logits_of(*probabilities: float):
    """One row of logits with these probabilities."""
    return torch.tensor([probabilities]).log()


def test_set_loss_is_minus_log_of_the_summed_probability():
    """A label that may mean two topics of 0.2 and 0.3 costs -log 0.5, however the sum is split."""
    allowed = torch.tensor([[True, True, False]])
    assert set_loss(logits_of(0.2, 0.3, 0.5), allowed).item() == pytest.approx(-math.log(0.5))
    assert set_loss(logits_of(0.45, 0.05, 0.5), allowed).item() == pytest.approx(-math.log(0.5))


def test_a_set_of_all_topics_costs_nothing():
    """A label that may mean anything teaches nothing."""
    assert set_loss(logits_of(0.2, 0.3, 0.5), torch.ones(1, 3, dtype=torch.bool)).item() == pytest.approx(0.0, abs=1e-6)


def test_rows_without_topic_add_nothing_and_no_gradient():
    """Sentiment and entity rows leave the topic head alone."""
    logits = torch.randn(2, 3, requires_grad=True)
    losses = topic_losses(logits, torch.tensor([[False, False, False], [True, False, False]]))
    losses.sum().backward()
    assert losses[0].item() == 0.0
    assert logits.grad[0].abs().sum().item() == 0.0
    assert logits.grad[1].abs().sum().item() > 0.0


def test_two_class_sources_do_not_touch_the_neutral_logit():
    """Without neutral rows, negative competes with positive alone: -log(0.2 / 0.5), no gradient on neutral."""
    logits = logits_of(0.2, 0.5, 0.3).requires_grad_()
    loss = sentiment_losses(logits, torch.tensor([0]), torch.tensor([True]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(-math.log(0.2 / 0.5))
    assert logits.grad[0, NEUTRAL].item() == 0.0


def test_three_class_sources_use_all_logits():
    """The usual cross entropy: -log 0.2."""
    loss = sentiment_losses(logits_of(0.2, 0.5, 0.3), torch.tensor([0]), torch.tensor([False]))
    assert loss.item() == pytest.approx(-math.log(0.2))


def test_masked_tags_teach_nothing():
    """Tokens of MISC spans, ends and padding have no loss and no gradient; the row's mean is over the others."""
    logits = torch.zeros(1, 3, 7, requires_grad=True)
    loss = tag_losses(logits, torch.tensor([[IGNORED, 1, IGNORED]]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(7))
    assert logits.grad[0, [0, 2]].abs().sum().item() == 0.0


def test_a_row_of_masked_tags_costs_nothing():
    """A row of another task has a tag loss of 0, not NaN."""
    assert tag_losses(torch.zeros(1, 2, 7), torch.full((1, 2), IGNORED)).tolist() == [0.0]


def test_the_shipped_table_is_complete():
    """Every mapped label names existing topics, every topic is meant alone by some label, and parents are kept."""
    table = read_table()
    alone = {
        column
        for labels in table.sources.values()
        for columns in labels.values()
        if len(columns) == 1
        for column in columns
    }
    assert alone == set(range(len(table.topics)))
    assert {topic.parent for topic in table.topics} == {None, "medtop:04000000"}
    assert table.columns("ag_news_testset", "Business") == {i for i, topic in enumerate(table.topics) if topic.parent}


def test_an_unknown_topic_in_the_table_is_named(tmp_path):
    """A misspelt topic in the table is an error with the place, not a label that is silently never trained."""
    path = tmp_path / "topics.toml"
    path.write_text('topic = [{id = "a", name = "A"}]\n[group]\n[source.s]\nx = ["b"]\n')
    with pytest.raises(TopicTableError, match=r"s\.x names b"):
        read_table(path)


def test_a_merged_table_has_the_parent_in_the_place_of_its_children():
    """The economy is one column under its own id; labels of its parts mean it, and others keep their topics."""
    table = read_table()
    merged = table.merged()
    assert len(merged.topics) == len(table.topics) - 5
    [economy] = [topic for topic in merged.topics if topic.id == "medtop:04000000"]
    assert economy.name == "economy, business and finance"
    assert not any(topic.parent for topic in merged.topics)
    column = merged.topics.index(economy)
    assert (
        merged.columns("multifin_high", "Tax & Accounting") == merged.columns("ag_news_testset", "Business") == {column}
    )
    for source, labels in table.sources.items():
        for label, columns in labels.items():
            names = {table.topics[each].parent or table.topics[each].id for each in columns}
            assert {merged.topics[each].id for each in merged.columns(source, label)} == names, (source, label)


def test_a_parent_without_a_name_is_an_error(tmp_path):
    """A topic whose parent has no entry of its own could not be merged: the table is refused."""
    path = tmp_path / "topics.toml"
    path.write_text('topic = [{id = "a", name = "A", parent = "p"}]\n[group]\n[source.s]\nx = ["a"]\n')
    with pytest.raises(TopicTableError, match="a names the parent p"):
        read_table(path)
