"""Multi-task fine-tuning under a time budget: resumable, and done when the budget is spent."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from worker.analysis.bundle import Licence
from worker.model import checkpoint, loop
from worker.model.averaging import averaged
from worker.model.batches import Batch, Batcher
from worker.model.curves import Curves
from worker.model.freezing import make_optimiser
from worker.model.gradients import add_gradients
from worker.model.licences import permitted
from worker.model.loop import LOG_EVERY_STEPS, Clock, Position, Progress
from worker.model.network import MultiTaskBert, device_of
from worker.model.recipe import Recipe, read_recipe
from worker.model.resume import FILE, restore_state, save_state
from worker.model.sampling import POOL_BATCHES, Mixture, load_mixture
from worker.model.starting import check_licence, copy_start, first_network, licence_of_run, prepare_base
from worker.model.stopping import EarlyStop, Score, dev_scorer
from worker.model.topics import TopicTable, topics_of
from worker.model.vocabulary import SERVED

CLIP_NORM = 1.0


def fine_tune(  # noqa: PLR0913, PLR0917 - where from, where to, how long
    recipe_path: Path,
    data: Path,
    out: Path,
    budget_s: float,
    start_from: Path | None = None,
    progress: Progress | None = None,
    licence: Licence = "any",
) -> Path:
    """Train by the recipe for `budget_s` seconds in all (resumed parts included); returns the checkpoint folder.

    Below `out`: base/ (trimmed; made when absent) or start/ (what `start_from` held), ckpt-latest/, ckpt-best/ (with
    early stopping), state.pt (to resume), train.jsonl and tensorboard/ (losses).

    Args:
        start_from: a checkpoint, a served bundle, or a base folder (imported, or pretrained/ of a pre-training) to go
            on from instead of the recipe's base.
        licence: "commercial" leaves out the sources that do not allow commercial use, and what only they can teach.
    """
    recipe, topics = permitted(read_recipe(recipe_path), licence), topics_of(licence)
    mixture = load_mixture(recipe, data, topics)  # before anything is written: data that cannot be read leaves nothing
    prepare(recipe, data, out, start_from)
    check_licence(out, licence)
    stops = recipe.options.stop_check_minutes > 0
    score = dev_scorer(recipe, data, recipe.options.stop_rows) if stops else None
    run = Run.start(recipe, topics, out, budget_s, score)
    run.train(mixture, time.monotonic, progress)
    return out / ("ckpt-best" if stops else "ckpt-latest")


def prepare(recipe: Recipe, data: Path, out: Path, start_from: Path | None = None) -> None:
    """Make what a run in `out` starts from, if it is not there: of `start_from`, else of the recipe's base."""
    if (out / "start").is_dir() or (out / "base").is_dir():
        return
    if start_from is not None:
        copy_start(start_from, out)
    else:
        prepare_base(recipe.base, recipe.vocabulary, data, out)


@dataclass
class Run:
    """One training run: the network, its optimiser, and where they stand."""

    recipe: Recipe
    out: Path
    budget_s: float
    network: MultiTaskBert
    optimiser: torch.optim.AdamW
    batcher: Batcher
    labels: checkpoint.Labels
    position: Position
    curves: Curves
    average: AveragedModel | None = None
    ranks: Any = None  # adapters.RankPlan of AdaLoRA
    stop: EarlyStop | None = None
    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))

    @classmethod
    def start(cls, recipe: Recipe, topics: TopicTable, out: Path, budget_s: float, score: Score | None = None) -> "Run":
        """A fresh run from `out`/start or `out`/base, or the one that `out`/state.pt holds.

        With a `score` the run may end early.

        Raises:
            CheckpointError: `out`/start knows other topics than the table does.
            RecipeError: an option does not fit the encoder.
            CurvesError: the recipe asks for a logger that is not installed.
        """
        options, settings = recipe.options, recipe.optimiser
        curves = Curves(out, options.wandb)
        torch.manual_seed(recipe.seed)
        listed = tuple({"id": t.id, "name": t.name, "parent": t.parent} for t in topics.topics)
        network, tokenizer, base = first_network(out, listed, options)
        ranks = _adapt(network, recipe)
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        tokenizer.enable_truncation(settings.max_tokens)
        two_class = frozenset(source.name for source in recipe.sentiment.sources if source.two_class)
        run = cls(
            recipe=recipe,
            out=out,
            budget_s=budget_s,
            network=network,
            optimiser=make_optimiser(network, recipe),
            batcher=Batcher(tokenizer, network.config.pad_token_id, len(listed), two_class, settings.batch_size),
            labels=checkpoint.Labels(listed, base, settings.max_tokens, SERVED, licence=licence_of_run(recipe, out)),
            position=Position(),
            curves=curves,
            average=averaged(network, options.average) if options.average else None,
            ranks=ranks,
            stop=EarlyStop(out, score, options.stop_check_minutes * 60, options.stop_patience) if score else None,
        )
        if (out / FILE).is_file():
            run.restore()
        return run

    def train(self, mixture: Mixture, clock: Clock, progress: Progress | None = None) -> None:
        """Steps until the budget is spent, then a last save; the learning rate reaches zero there."""
        self.network.train()
        self.batches = loop.batches_from(
            self.position.step * self.recipe.options.accumulate, POOL_BATCHES, partial(self._pool, mixture)
        )
        loop.train(self, clock, progress)
        if self.stop is not None and not self.stop.over:
            self._look(self.stop)
        self.curves.close()

    def ended(self) -> bool:
        """Whether the dev score has stopped rising; looks at it when that is due."""
        if self.stop is None:
            return False
        if not self.stop.over and self.stop.due(self.position.elapsed_s):
            self.save()
            self._look(self.stop)
        return self.stop.over

    def _look(self, stop: EarlyStop) -> None:
        self.curves.add(self.position.step, {"dev/mean_score": stop.look(self.position.elapsed_s)})
        self.save()

    def _pool(self, mixture: Mixture, number: int) -> list[Batch]:
        pool = mixture.pool(number, POOL_BATCHES * self.batcher.batch_size)
        return self.batcher.batches(pool, f"{self.recipe.seed}/{number}")

    def step(self) -> None:
        """One optimiser step; the dropout's randomness depends on the step alone."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.position.step)
        spent = self.position.elapsed_s / self.budget_s
        loop.set_rates(self.optimiser, spent, self.recipe.optimiser.warm_up)
        self.optimiser.zero_grad(set_to_none=True)
        device, summed, examples = device_of(self.network), dict.fromkeys(self.recipe.tasks(), 0.0), 0
        for batch in islice(self.batches, self.recipe.options.accumulate):
            losses = add_gradients(self.network, batch.to(device), self.recipe)
            summed = {name: loss + losses[name] for name, loss in summed.items()}
            examples += len(batch.input_ids)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimiser.step()
        if self.ranks is not None:
            self.ranks.update(spent)
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.position.add(summed, examples)

    def log(self) -> None:
        """One line of train.jsonl, one point a curve: each task's mean loss per example since the last line."""
        position, batch_size = self.position, self.batcher.batch_size
        seen = LOG_EVERY_STEPS * batch_size * self.recipe.options.accumulate
        means = {
            name: round(position.losses.get(name, 0.0) / (seen * task.share), 4)
            for name, task in self.recipe.tasks().items()
        }
        loop.write_line(self.out / "train.jsonl", position, means)
        figures = {f"loss/{name}": mean for name, mean in means.items()}
        self.curves.add(position.step, figures | {"learning_rate": self.optimiser.param_groups[0]["lr"]})
        position.losses = {}

    def save(self) -> None:
        """ckpt-latest/ for readers and state.pt to resume from, each replaced whole."""
        tokenizer = self.batcher.tokenizer
        tokenizer.no_truncation()
        checkpoint.save(self.out / "ckpt-latest", self._result(), tokenizer, self.labels)
        tokenizer.enable_truncation(self.recipe.optimiser.max_tokens)
        save_state(self.out, self.network, self.optimiser, self.position, self._extras())

    def restore(self) -> None:
        """Take up the run that state.pt holds."""
        self.position = restore_state(self.out, self.network, self.optimiser, self._extras())

    def _extras(self) -> dict[str, Any]:
        """What some options keep beside the network, by its name in state.pt."""
        parts = {"average": self.average, "ranks": self.ranks, "stop": self.stop}
        return {name: part for name, part in parts.items() if part is not None}

    def _result(self) -> MultiTaskBert:
        """The network that the checkpoint holds: the average if there is one, without adapters."""
        network = self.network if self.average is None else self.average.module
        if not self.recipe.options.adapter:
            return network
        from worker.model.adapters import merged  # noqa: PLC0415 - loads peft, which other runs do without

        return merged(network)


def _adapt(network: MultiTaskBert, recipe: Recipe) -> Any:
    """Put in the adapters that the recipe asks for; AdaLoRA's plan of ranks."""
    if not recipe.options.adapter:
        return None
    from worker.model import adapters  # noqa: PLC0415 - loads peft, which other runs do without

    adapters.add_adapters(network, recipe.options)
    return adapters.RankPlan(network) if recipe.options.adapter == "adalora" else None
