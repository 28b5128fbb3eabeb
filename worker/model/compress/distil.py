"""Distillation under a time budget: a smaller network learns to answer as the full one; resumable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from worker.model import checkpoint, loop
from worker.model.batches import Batch, Batcher
from worker.model.compress.losses import answer_losses, hidden_loss, passed
from worker.model.compress.recipe import CompressRecipe
from worker.model.curves import Curves
from worker.model.loop import LOG_EVERY_STEPS, Clock, Position, Progress
from worker.model.network import MultiTaskBert, device_of, trainable_parts
from worker.model.precision import autocast
from worker.model.resume import FILE, restore_state, save_state
from worker.model.sampling import POOL_BATCHES, Mixture

CLIP_NORM = 1.0


@dataclass
class Distillation:
    """A student, its teacher, and where they stand. The teacher's layer `layers[i]` is the student's layer i."""

    recipe: CompressRecipe
    out: Path
    budget_s: float
    teacher: MultiTaskBert
    student: MultiTaskBert
    layers: tuple[int, ...]
    optimiser: torch.optim.AdamW
    batcher: Batcher
    labels: checkpoint.Labels
    position: Position
    curves: Curves
    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))

    @classmethod
    def start(
        cls, recipe: CompressRecipe, teacher: Path, out: Path, layers: Sequence[int], budget_s: float
    ) -> "Distillation":
        """A fresh run of the checkpoint `out`/student, or the one that `out`/state.pt holds.

        Args:
            teacher: a checkpoint over the same pieces.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        full, _, _ = checkpoint.load(teacher)
        student, tokenizer, labels = checkpoint.load(out / "student")
        for network in (full, student):
            network.encoder.set_attn_implementation("eager")  # faster on a CPU than the fused one, see first_network
            network.to(device)
        tokenizer.enable_truncation(recipe.optimiser.max_tokens)
        pad_id, topics = student.config.pad_token_id, len(labels.topics)
        run = cls(
            recipe=recipe,
            out=out,
            budget_s=budget_s,
            teacher=full.requires_grad_(False),
            student=student,
            layers=tuple(layers),
            optimiser=_make_optimiser(student, recipe),
            batcher=Batcher(tokenizer, pad_id, topics, frozenset(), recipe.optimiser.batch_size),
            labels=labels,
            position=Position(),
            curves=Curves(out),
        )
        if (out / FILE).is_file():
            run.restore()
        return run

    def train(self, mixture: Mixture, clock: Clock, progress: Progress | None = None) -> None:
        """Steps until the budget is spent, then a last save; without dropout, so that both see the same."""
        self.batches = loop.batches_from(self.position.step, POOL_BATCHES, partial(self._pool, mixture))
        loop.train(self, clock, progress)
        self.curves.close()

    def ended(self) -> bool:
        return False

    def _pool(self, mixture: Mixture, number: int) -> list[Batch]:
        pool = mixture.pool(number, POOL_BATCHES * self.batcher.batch_size)
        return self.batcher.batches(pool, f"{self.recipe.seed}/{number}")

    def step(self) -> None:
        """One optimiser step on the answers' distances and the weighted one of the hidden states."""
        loop.set_rates(self.optimiser, self.position.elapsed_s / self.budget_s, self.recipe.optimiser.warm_up)
        device = device_of(self.student)
        batch = next(self.batches).to(device)
        with autocast(device, self.recipe.optimiser.bf16):
            with torch.no_grad():
                wanted, above = passed(self.teacher, batch)
            answers, hidden = passed(self.student, batch)
        losses = answer_losses(answers, wanted, batch, self.recipe.temperature)
        losses["hidden"] = hidden_loss(hidden, above, self.layers, batch) * self.recipe.hidden_weight
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.position.add({name: loss.item() for name, loss in losses.items()}, len(batch.input_ids))

    def log(self) -> None:
        """One line of train.jsonl, one point a curve: the mean losses since the last line."""
        means = {name: round(total / LOG_EVERY_STEPS, 5) for name, total in self.position.losses.items()}
        loop.write_line(self.out / "train.jsonl", self.position, means)
        figures = {f"loss/{name}": mean for name, mean in means.items()}
        self.curves.add(self.position.step, figures | {"learning_rate": self.optimiser.param_groups[0]["lr"]})
        self.position.losses = {}

    def save(self) -> None:
        """ckpt-latest/ for readers and state.pt to resume from, each replaced whole."""
        tokenizer = self.batcher.tokenizer
        tokenizer.no_truncation()
        checkpoint.save(self.out / "ckpt-latest", self.student, tokenizer, self.labels)
        tokenizer.enable_truncation(self.recipe.optimiser.max_tokens)
        save_state(self.out, self.student, self.optimiser, self.position)

    def restore(self) -> None:
        """Take up the run that state.pt holds."""
        self.position = restore_state(self.out, self.student, self.optimiser)


def _make_optimiser(student: MultiTaskBert, recipe: CompressRecipe) -> torch.optim.AdamW:
    """AdamW over the encoder (word embeddings frozen: the teacher's own) and the heads."""
    numbers = recipe.optimiser
    rates = (numbers.encoder_lr, numbers.heads_lr)
    groups = [
        {"params": found, "lr": rate, "peak_lr": rate}
        for found, rate in zip(trainable_parts(student), rates, strict=True)
    ]
    return torch.optim.AdamW(groups, weight_decay=numbers.weight_decay, fused=True)
