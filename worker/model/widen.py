"""`polyvox model widen`: learn the table beside a network's encoder, by itself, and put it in.

By itself, because a table that learned together with the network would learn only what that has not learned by heart
from the same texts, which is nothing: of its training texts the network is sure.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from worker.model import checkpoint
from worker.model.batches import Batch, Batcher
from worker.model.licences import permitted
from worker.model.loop import Progress
from worker.model.losses import topic_losses
from worker.model.network import MultiTaskBert, narrow_state
from worker.model.options import Options
from worker.model.recipe import Recipe, RecipeError, Wide, read_recipe
from worker.model.sampling import POOL_BATCHES, Mixture, load_mixture
from worker.model.served import load_network
from worker.model.topics import topics_of
from worker.model.wide import WideTable, places, pooled


def widen(source: Path, recipe_path: Path, data: Path, out: Path, progress: Progress | None = None) -> Path:
    """Write the checkpoint or bundle `source` with a table learned from the recipe's topics; `out`.

    A table that `source` has is replaced. Of a model for commercial use, the table learns from such sources alone.

    Raises:
        RecipeError: the recipe has no `[wide]`.
        CheckpointError: `source` is neither a checkpoint nor a bundle.
        NoDataError, DataError: the texts cannot be read.
    """
    network, tokenizer, labels = load_network(source)
    recipe, topics = permitted(read_recipe(recipe_path), labels.licence), topics_of(labels.licence)
    settings = recipe.wide
    if settings is None:
        raise RecipeError(f"{recipe_path}: no [wide]: rows, examples, batch_size, learning_rate, share")
    mixture = load_mixture(of_topics(recipe), data, topics)
    tokenizer.enable_truncation(recipe.optimiser.max_tokens)
    batcher = Batcher(tokenizer, network.config.pad_token_id, len(topics.topics), frozenset(), settings.batch_size)
    learned = learn(mixture, batcher, settings, progress)
    tokenizer.no_truncation()
    checkpoint.save(out, with_table(network, learned, settings), tokenizer, labels)
    return out


def of_topics(recipe: Recipe) -> Recipe:
    """The recipe with topics alone, texts as they are."""
    return replace(
        recipe,
        sentiment=replace(recipe.sentiment, share=0.0),
        topic=replace(recipe.topic, share=1.0),
        ner=replace(recipe.ner, share=0.0),
        options=Options(),
    )


def learn(mixture: Mixture, batcher: Batcher, settings: Wide, progress: Progress | None = None) -> Tensor:
    """The table, float32 [rows, K], by Adam on the mean loss; the rate falls to 0 at the end."""
    table = nn.Embedding(settings.rows, batcher.topic_count, sparse=True)
    nn.init.zeros_(table.weight)
    optimiser = torch.optim.SparseAdam(table.parameters(), lr=settings.learning_rate)
    steps = max(1, settings.examples // settings.batch_size)
    for step, batch in zip(range(steps), _batches(mixture, batcher), strict=False):
        optimiser.param_groups[0]["lr"] = settings.learning_rate * (1 - step / steps)
        optimiser.zero_grad()
        _loss(table, batch).backward()
        optimiser.step()
        if progress:
            progress(step + 1, steps)
    return table.weight.detach()


def _batches(mixture: Mixture, batcher: Batcher) -> Iterator[Batch]:
    number = 0
    while True:
        yield from batcher.batches(mixture.pool(number, POOL_BATCHES * batcher.batch_size), str(number))
        number += 1


def _loss(table: nn.Embedding, batch: Batch) -> Tensor:
    """The mean over a batch of its rows' losses."""
    rows = table(places(batch.input_ids, table.num_embeddings))
    return topic_losses(pooled(rows, batch.attention_mask), batch.topics).mean()


def with_table(network: MultiTaskBert, learned: Tensor, settings: Wide) -> MultiTaskBert:
    """A network with the weights of this one, and the table in the place of any that it has."""
    topics = network.topic.out_features
    config = type(network.config).from_dict(network.config.to_dict() | {"wide_rows": settings.rows})
    made = MultiTaskBert(config, topics, network.dropout.p)
    made.load_state_dict(made.state_dict() | narrow_state(network))
    made.wide = WideTable(config.vocab_size, settings.rows, topics)
    made.wide.fill(learned, settings.share)
    made.eval()
    return made
