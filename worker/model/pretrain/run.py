"""Continued pre-training under a time budget: resumable, and a base for fine-tuning at every save."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer

from worker.model import loop
from worker.model.base import BaseImportError, open_base
from worker.model.curves import Curves
from worker.model.data import IGNORED
from worker.model.loop import Clock, Position, Progress
from worker.model.network import device_of
from worker.model.precision import autocast
from worker.model.pretrain.batches import Batch, Batcher
from worker.model.pretrain.network import PretrainBert, pretrain_losses
from worker.model.pretrain.recipe import PretrainRecipe, read_recipe
from worker.model.pretrain.text import RawMixture, load_texts
from worker.model.replacing import replaced
from worker.model.resume import FILE, restore_state, save_state
from worker.model.sampling import POOL_BATCHES
from worker.model.starting import copy_start, prepare_base

CLIP_NORM = 1.0
RESULT = "pretrained"
SUFFIX = ", pre-trained further"


def pretrain(  # noqa: PLR0913, PLR0917 - where from, where to, how long
    recipe_path: Path,
    data: Path,
    out: Path,
    budget_s: float,
    start_from: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train by the recipe for `budget_s` seconds in all (resumed parts included); returns the folder of the new base.

    Below `out`: base/ (what it started from), pretrained/ (the result, which fine-tuning takes as a base), state.pt (to
    resume), train.jsonl and tensorboard/.

    Args:
        start_from: a base folder, taken as it is, instead of the recipe's base, which is trimmed first.
    """
    recipe = read_recipe(recipe_path)
    # Text first: what is wrong with it shows before minutes are spent on the base.
    mixture = load_texts(recipe, data)
    prepare(recipe, data, out, start_from)
    PretrainRun.start(recipe, out, budget_s).train(mixture, time.monotonic, progress)
    return out / RESULT


def prepare(recipe: PretrainRecipe, data: Path, out: Path, start_from: Path | None) -> None:
    """Make `out`/base, if it is not there; BaseImportError when `start_from` is no base."""
    if (out / "base").is_dir():
        return
    if start_from is None:
        prepare_base(recipe.base, recipe.vocabulary, data, out)
        return
    if not (start_from / "base.json").is_file():
        raise BaseImportError(
            f"{start_from} is not a base; make one of a BertModel with `polyvox model import-base {start_from}`"
        )
    copy_start(start_from, out)


@dataclass
class PretrainRun:
    """One pre-training: the network, its optimiser, and where they stand."""

    recipe: PretrainRecipe
    out: Path
    budget_s: float
    network: PretrainBert
    optimiser: torch.optim.AdamW
    batcher: Batcher
    base: str
    position: Position
    curves: Curves
    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))

    @classmethod
    def start(cls, recipe: PretrainRecipe, out: Path, budget_s: float) -> "PretrainRun":
        """A fresh run from `out`/base, or the one that `out`/state.pt holds.

        Raises:
            BaseImportError: `out`/base is not whole.
            MaskError: its tokenizer has no piece to hide words with.
        """
        torch.manual_seed(recipe.seed)
        encoder, tokenizer, base = open_base(out / "base")
        # As in fine-tuning: one pass over much data does not over-fit, and plain attention trains faster on a CPU.
        encoder.config.hidden_dropout_prob = encoder.config.attention_probs_dropout_prob = 0.0
        encoder.config._attn_implementation = "eager"
        network = PretrainBert(type(encoder)(encoder.config, add_pooling_layer=False))
        network.encoder.load_state_dict(encoder.state_dict())
        network.to("cuda" if torch.cuda.is_available() else "cpu")
        run = cls(
            recipe=recipe,
            out=out,
            budget_s=budget_s,
            network=network,
            optimiser=make_optimiser(network, recipe),
            batcher=make_batcher(tokenizer, network, recipe),
            base=base,
            position=Position(),
            curves=Curves(out),
        )
        if (out / FILE).is_file():
            run.restore()
        return run

    def train(self, mixture: RawMixture, clock: Clock, progress: Progress | None = None) -> None:
        """Steps until the budget is spent, then a last save; the learning rate reaches zero there."""
        self.network.train()
        self.batches = loop.batches_from(self.position.step, POOL_BATCHES, partial(self._pool, mixture))
        loop.train(self, clock, progress)
        self.curves.close()

    def ended(self) -> bool:
        return False

    def _pool(self, mixture: RawMixture, number: int) -> list[Batch]:
        pool = mixture.pool(number, POOL_BATCHES * self.batcher.batch_size)
        return self.batcher.batches(pool, f"{self.recipe.seed}/{number}")

    def step(self) -> None:
        """One optimiser step on the mean loss of a hidden piece plus that of a pair."""
        loop.set_rates(self.optimiser, self.position.elapsed_s / self.budget_s, self.recipe.optimiser.warm_up)
        device = device_of(self.network)
        batch = next(self.batches).to(device)
        with autocast(device, self.recipe.optimiser.bf16):
            outputs = self.network(batch)
        losses = pretrain_losses(outputs, batch)
        counts = {"piece_count": len(batch.targets), "pair_count": int((batch.follows != IGNORED).sum())}
        total = losses["pieces"] / max(counts["piece_count"], 1) + losses["pairs"] / max(counts["pair_count"], 1)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.position.add({name: loss.item() for name, loss in losses.items()} | counts, len(batch.input_ids))

    def log(self) -> None:
        """One line of train.jsonl, one point a curve: means since the last line."""
        sums = self.position.losses
        pieces, pairs = max(sums["piece_count"], 1), max(sums["pair_count"], 1)
        losses = {"pieces": sums["pieces"] / pieces, "pairs": sums["pairs"] / pairs}
        accuracies = {"pieces": sums["piece_hits"] / pieces, "pairs": sums["pair_hits"] / pairs}
        loop.write_line(
            self.out / "train.jsonl",
            self.position,
            {name: round(mean, 4) for name, mean in losses.items()}
            | {f"{name}_accuracy": round(mean, 4) for name, mean in accuracies.items()},
        )
        figures = {f"loss/{name}": mean for name, mean in losses.items()}
        figures |= {f"accuracy/{name}": mean for name, mean in accuracies.items()}
        self.curves.add(self.position.step, figures | {"learning_rate": self.optimiser.param_groups[0]["lr"]})
        self.position.losses = {}

    def save(self) -> None:
        """pretrained/ for fine-tuning and state.pt to resume from, each replaced whole."""
        with replaced(self.out / RESULT) as fresh:
            self.network.encoder.save_pretrained(fresh)
            self.batcher.tokenizer.save(str(fresh / "tokenizer.json"))
            name = self.base.removesuffix(SUFFIX) + SUFFIX
            (fresh / "base.json").write_text(json.dumps({"base": name}) + "\n")
        save_state(self.out, self.network, self.optimiser, self.position)

    def restore(self) -> None:
        """Take up the run that state.pt holds."""
        self.position = restore_state(self.out, self.network, self.optimiser)


def make_batcher(tokenizer: Tokenizer, network: PretrainBert, recipe: PretrainRecipe) -> Batcher:
    """The recipe's batches for the network; MaskError when the tokenizer has no mask piece."""
    numbers = recipe.optimiser
    return Batcher.of(tokenizer, network.config.pad_token_id, recipe.mask_share, numbers.max_tokens, numbers.batch_size)


def make_optimiser(network: PretrainBert, recipe: PretrainRecipe) -> torch.optim.AdamW:
    """AdamW over the encoder (word embeddings frozen) and the heads, each with its own peak learning rate."""
    numbers = recipe.optimiser
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    parts = ((encoder, numbers.encoder_lr), (network.heads(), numbers.heads_lr))
    groups = [{"params": found, "lr": rate, "peak_lr": rate} for found, rate in parts]
    return torch.optim.AdamW(groups, weight_decay=numbers.weight_decay, fused=True)
