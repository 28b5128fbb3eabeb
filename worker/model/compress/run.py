"""`polyvox model compress`: the steps that make a checkpoint smaller, in their order and each resumable."""

import itertools
import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertConfig

from worker.model import checkpoint
from worker.model.attention_heads import heads_of
from worker.model.batches import Batch, Batcher
from worker.model.compress.distil import Distillation
from worker.model.compress.importance import check_share, choose_heads, head_importance
from worker.model.compress.recipe import CompressRecipe
from worker.model.compress.shapes import CompressError, keep_heads, keep_layers, keep_pieces, spread_layers
from worker.model.gradients import weighted_loss
from worker.model.loop import Progress
from worker.model.network import MultiTaskBert
from worker.model.options import Options
from worker.model.recipe import Recipe
from worker.model.replacing import replaced
from worker.model.sampling import POOL_BATCHES, Mixture, load_mixture
from worker.model.starting import copy_start
from worker.model.topics import read_table
from worker.model.vocabulary import choose_pieces, count_pieces, trim_tokenizer

RESULT = "compressed"


@dataclass(frozen=True)
class Plan:
    """What is made smaller, in this order; None leaves a thing as it is."""

    vocabulary: int | None = None  # pieces to keep
    layers: tuple[int, ...] | int | None = None  # so many, evenly spread, or these, numbered from 0
    heads: float | None = None  # the share of the attention heads that goes
    budget_s: float = 1800.0  # of training, shared evenly by layers and heads


def parse_layers(text: str) -> tuple[int, ...] | int:
    """A number, or numbers from 0 between commas; CompressError for anything else."""
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"\d+(,\d+)+", text):
        layers = tuple(map(int, text.split(",")))
        if list(layers) == sorted(set(layers)):
            return layers
    raise CompressError(
        f"layers are {text!r}; give their number, such as 6, or the ones to keep, such as 1,3,5, rising"
    )


def kept_layers(plan: Plan, config: BertConfig) -> tuple[int, ...]:
    """The layers of an encoder that a plan keeps; CompressError when it cannot be carried out on this one."""
    count, size = config.num_hidden_layers, config.vocab_size
    if plan.vocabulary is not None and plan.vocabulary >= size:
        raise CompressError(f"{plan.vocabulary} pieces to keep, but the vocabulary has {size}: nothing to trim")
    if plan.layers is None:
        layers = tuple(range(count))
    elif isinstance(plan.layers, int):
        layers = tuple(spread_layers(count, plan.layers))
    else:
        layers = plan.layers
    if wrong := [layer for layer in layers if layer >= count]:
        raise CompressError(f"there is no layer {wrong[0]}: the encoder has 0 to {count - 1}")
    if plan.heads is not None:
        check_share(plan.heads, [heads_of(config)[layer] for layer in layers])
    return layers


@dataclass(frozen=True)
class Stage:
    """A checkpoint on the way, and what was done for it."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Compression:
    """The steps of a plan below `out`: start/ (the full network), vocabulary/, layers/, heads/ and compressed/."""

    plan: Plan
    out: Path
    recipe: CompressRecipe
    texts: Recipe  # whose labelled texts are learned from
    data: Path

    @cached_property
    def mixture(self) -> Mixture:
        """The texts to learn from; read by the first step that learns."""
        return load_mixture(self.texts, self.data, read_table())

    def run(self, source: Path, progress: Progress | None = None) -> list[Stage]:
        """Make every step that is not made yet; the stages, the full network first, and `out`/compressed.

        Args:
            source: a checkpoint or a served bundle.

        Raises:
            CompressError: the network cannot give what the plan asks for, or `out` holds the run of another plan.
            CheckpointError: `source` is neither of the two.
        """
        layers = self._begin(source)
        stages = [Stage("as given", self.out / "start")]
        if self.plan.vocabulary is not None:
            stages.append(self._trim(stages[-1]))
        teacher = stages[-1].folder
        if self.plan.layers is not None:
            stages.append(self._drop_layers(teacher, layers, progress))
        if self.plan.heads is not None:
            stages.append(self._prune(stages[-1], teacher, layers, progress))
        with replaced(self.out / RESULT) as fresh:
            shutil.copytree(stages[-1].folder, fresh, dirs_exist_ok=True)
        return stages

    def _begin(self, source: Path) -> tuple[int, ...]:
        """Copy the full network, and note the plan, so that no folder mixes two; the layers that will be kept."""
        note, plan = self.out / "plan.json", json.dumps({"source": str(source.resolve()), **asdict(self.plan)}) + "\n"
        if note.is_file() and note.read_text() != plan:
            raise CompressError(f"{self.out} holds another plan ({note.read_text().strip()}); take another folder")
        if (source / "base.json").is_file():
            raise CompressError(f"{source} is a base without heads; fine-tune it first")
        if not note.is_file():
            shutil.rmtree(self.out / "start", ignore_errors=True)
            copy_start(source, self.out)
        network, _, labels = checkpoint.load(self.out / "start")
        layers = kept_layers(self.plan, network.config)
        if [topic["id"] for topic in labels.topics] != [topic.id for topic in read_table().topics]:
            raise CompressError(f"{source} was trained on other topics than the table's: its losses would mean nothing")
        note.write_text(plan)
        return layers

    def _trim(self, before: Stage) -> Stage:
        made = Stage(f"{self.plan.vocabulary} pieces", self.out / "vocabulary")
        if not made.folder.is_dir():
            network, tokenizer, labels = checkpoint.load(before.folder)
            keep = choose_pieces(tokenizer, count_pieces(self.data, tokenizer), self.plan.vocabulary or 0)
            checkpoint.save(made.folder, keep_pieces(network, keep), trim_tokenizer(tokenizer, keep), labels)
        return made

    def _drop_layers(self, teacher: Path, layers: Sequence[int], progress: Progress | None) -> Stage:
        folder = self.out / "layers"
        if not (folder / "student").is_dir():
            network, tokenizer, labels = checkpoint.load(teacher)
            checkpoint.save(folder / "student", keep_layers(network, layers), tokenizer, labels)
        self._distil(teacher, folder, layers, progress)
        return Stage(f"layers {','.join(map(str, layers))}", folder / "ckpt-latest")

    def _prune(self, before: Stage, teacher: Path, layers: Sequence[int], progress: Progress | None) -> Stage:
        folder = self.out / "heads"
        if not (folder / "student").is_dir():
            network, tokenizer, labels = checkpoint.load(before.folder)
            keep = choose_heads(self._importance(before.folder), self.plan.heads or 0.0)
            checkpoint.save(folder / "student", keep_heads(network, keep), tokenizer, labels)
        self._distil(teacher, folder, layers, progress)
        network, _, _ = checkpoint.load(folder / "ckpt-latest")
        return Stage(f"heads {','.join(map(str, heads_of(network.config)))}", folder / "ckpt-latest")

    def _importance(self, folder: Path) -> list[Tensor]:
        network, tokenizer, labels = checkpoint.load(folder)
        tokenizer.enable_truncation(self.recipe.optimiser.max_tokens)
        network.encoder.set_attn_implementation("eager")
        two_class = frozenset(source.name for source in self.texts.sentiment.sources if source.two_class)
        size, count = self.recipe.optimiser.batch_size, self.recipe.importance_batches
        batcher = Batcher(tokenizer, network.config.pad_token_id, len(labels.topics), two_class, size)
        pools = (self.mixture.pool(number, size * POOL_BATCHES) for number in itertools.count())
        batches = itertools.chain.from_iterable(batcher.batches(pool, str(number)) for number, pool in enumerate(pools))

        plain = replace(self.texts, options=Options())  # the task's loss alone, in one pass

        def loss(asked: MultiTaskBert, batch: Batch) -> Tensor:
            total, _ = weighted_loss(asked, batch, plain)
            return total

        torch.manual_seed(self.recipe.seed)
        return head_importance(network, itertools.islice(batches, count), loss)

    def _distil(self, teacher: Path, folder: Path, layers: Sequence[int], progress: Progress | None) -> None:
        steps = (self.plan.layers is not None) + (self.plan.heads is not None)
        run = Distillation.start(self.recipe, teacher, folder, layers, self.plan.budget_s / steps)
        if run.position.elapsed_s < run.budget_s:
            run.train(self.mixture, time.monotonic, progress)
