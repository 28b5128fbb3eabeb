"""Multi-task fine-tuning under a time budget: resumable, and done when the budget is spent."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from worker.model import checkpoint
from worker.model.base import import_base, open_base
from worker.model.batches import Batch, Batcher
from worker.model.losses import batch_losses
from worker.model.network import MultiTaskBert, device_of, trainable_parts
from worker.model.recipe import Recipe, read_recipe
from worker.model.sampling import POOL_BATCHES, Mixture, load_mixture
from worker.model.topics import TopicTable, read_table
from worker.model.vocabulary import SERVED, choose_pieces, count_pieces, trim_encoder, trim_tokenizer

SAVE_EVERY_S = 300.0
LOG_EVERY_STEPS = 100
CLIP_NORM = 1.0
Progress = Callable[[int, int], None]
Clock = Callable[[], float]


@dataclass
class Position:
    """Where a run stands; saved with the weights."""

    step: int = 0
    elapsed_s: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)  # summed since the last log line
    examples: int = 0


def fine_tune(recipe_path: Path, data: Path, out: Path, budget_s: float, progress: Progress | None = None) -> Path:
    """Train by the recipe for `budget_s` seconds in all (resumed parts included); returns the checkpoint folder.

    Below `out`: base/ (trimmed; made when absent), ckpt-latest/, state.pt (to resume), train.jsonl (losses).
    """
    recipe, topics = read_recipe(recipe_path), read_table()
    if not (out / "base").is_dir():
        prepare_base(recipe, data, out)
    run = Run.start(recipe, topics, out, budget_s)
    run.train(load_mixture(recipe, data, topics), time.monotonic, progress)
    return out / "ckpt-latest"


def prepare_base(recipe: Recipe, data: Path, out: Path) -> None:
    """Import the recipe's base and trim it to the served languages, into `out`/base."""
    full = import_base(recipe.base, out / "base-full")
    encoder, tokenizer, name = open_base(full)
    keep = choose_pieces(tokenizer, count_pieces(data, tokenizer), recipe.vocabulary)
    trimmed = out / "base.new"
    trim_encoder(encoder, keep).save_pretrained(trimmed)
    trim_tokenizer(tokenizer, keep).save(str(trimmed / "tokenizer.json"))
    (trimmed / "base.json").write_text(json.dumps({"base": name}) + "\n")
    trimmed.rename(out / "base")


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

    @classmethod
    def start(cls, recipe: Recipe, topics: TopicTable, out: Path, budget_s: float) -> "Run":
        """A fresh run from `out`/base, or the one that `out`/state.pt holds."""
        encoder, tokenizer, base = open_base(out / "base")
        torch.manual_seed(recipe.seed)
        # One pass over much data does not over-fit: dropout inside the encoder costs a third of the time on a CPU and
        # gains nothing; the plain attention trains faster there than the fused one (measured: 32 and 27 texts/s).
        encoder.config.hidden_dropout_prob = encoder.config.attention_probs_dropout_prob = 0.0
        encoder.config._attn_implementation = "eager"
        network = MultiTaskBert(encoder.config, len(topics.topics))
        network.encoder.load_state_dict(encoder.state_dict())
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        settings = recipe.optimiser
        tokenizer.enable_truncation(settings.max_tokens)
        listed = tuple({"id": t.id, "name": t.name, "parent": t.parent} for t in topics.topics)
        two_class = frozenset(source.name for source in recipe.sentiment.sources if source.two_class)
        run = cls(
            recipe=recipe,
            out=out,
            budget_s=budget_s,
            network=network,
            optimiser=make_optimiser(network, recipe),
            batcher=Batcher(tokenizer, encoder.config.pad_token_id, len(listed), two_class, settings.batch_size),
            labels=checkpoint.Labels(listed, base, settings.max_tokens, SERVED),
            position=Position(),
        )
        if (out / "state.pt").is_file():
            run.restore()
        return run

    def train(self, mixture: Mixture, clock: Clock, progress: Progress | None = None) -> None:
        """Steps until the budget is spent, then a last save; the learning rate reaches zero there."""
        self.network.train()
        last, saved = clock(), self.position.elapsed_s
        for batch in self._batches(mixture):
            self.step(batch)
            now = clock()
            self.position.elapsed_s, last = self.position.elapsed_s + now - last, now
            if self.position.step % LOG_EVERY_STEPS == 0:
                self.log()
            if progress:
                progress(min(int(self.position.elapsed_s), int(self.budget_s)), int(self.budget_s))
            if self.position.elapsed_s >= self.budget_s:
                break
            if self.position.elapsed_s - saved >= SAVE_EVERY_S:
                self.save()
                saved = self.position.elapsed_s
        self.save()

    def _batches(self, mixture: Mixture) -> Iterator[Batch]:
        """Every batch from the current step on; pools are numbered, so nothing else needs to be remembered."""
        while True:
            number, done = divmod(self.position.step, POOL_BATCHES)
            pool = mixture.pool(number, POOL_BATCHES * self.batcher.batch_size)
            yield from self.batcher.batches(pool, f"{self.recipe.seed}/{number}")[done:]

    def step(self, batch: Batch) -> None:
        """One optimiser step; the dropout's randomness depends on the step alone."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.position.step)
        rate = learning_rate_factor(self.position.elapsed_s / self.budget_s, self.recipe.optimiser.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * rate
        batch = batch.to(device_of(self.network))
        with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self.recipe.optimiser.bf16):
            outputs = self.network(batch.input_ids, batch.attention_mask)
        losses = batch_losses(outputs, batch)
        total = torch.stack([losses[name] * task.loss_weight for name, task in self.recipe.tasks().items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        (total / len(batch.input_ids)).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.position.step += 1
        self.position.examples += len(batch.input_ids)
        for name, loss in losses.items():
            self.position.losses[name] = self.position.losses.get(name, 0.0) + loss.item()

    def log(self) -> None:
        """One line of train.jsonl: the mean loss per example of each task since the last line."""
        position, seen = self.position, LOG_EVERY_STEPS * self.batcher.batch_size
        means = {
            name: round(position.losses.get(name, 0.0) / (seen * task.share), 4)
            for name, task in self.recipe.tasks().items()
        }
        line: dict[str, Any] = {
            "step": position.step,
            "elapsed_s": round(position.elapsed_s),
            "examples": position.examples,
            "loss": means,
        }
        with (self.out / "train.jsonl").open("a") as lines:
            lines.write(json.dumps(line) + "\n")
        position.losses = {}

    def save(self) -> None:
        """ckpt-latest/ for readers and state.pt to resume from, each replaced whole."""
        tokenizer = self.batcher.tokenizer
        tokenizer.no_truncation()
        checkpoint.save(self.out / "ckpt-latest", self.network, tokenizer, self.labels)
        tokenizer.enable_truncation(self.recipe.optimiser.max_tokens)
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "position": vars(self.position),
        }
        torch.save(state, self.out / "state.pt.new")
        (self.out / "state.pt.new").rename(self.out / "state.pt")

    def restore(self) -> None:
        """Take up the run that state.pt holds."""
        state = torch.load(self.out / "state.pt", map_location=device_of(self.network), weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.position = Position(**state["position"])


def make_optimiser(network: MultiTaskBert, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over the encoder (word embeddings frozen) and the heads, each with its own peak learning rate."""
    settings = recipe.optimiser
    encoder, heads = trainable_parts(network)
    groups = [
        {"params": encoder, "lr": settings.encoder_lr, "peak_lr": settings.encoder_lr},
        {"params": heads, "lr": settings.heads_lr, "peak_lr": settings.heads_lr},
    ]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def learning_rate_factor(spent: float, warm_up: float) -> float:
    """Linear rise over the first `warm_up` of the budget, then linear fall to 0 at its end.

    By the fraction of time spent, not of steps: a shared machine's speed varies, the end must not.
    """
    if spent < warm_up:
        return max(spent / warm_up, 0.02)
    return max(0.0, (1.0 - spent) / (1.0 - warm_up))
