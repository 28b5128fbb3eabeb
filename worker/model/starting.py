"""What a run starts from: a base, a base that was trained further, a checkpoint, or a served bundle."""

import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer

from worker.analysis.bundle import Licence
from worker.model import checkpoint
from worker.model.base import import_base, open_base
from worker.model.licences import licence_of
from worker.model.network import MultiTaskBert, narrow_state
from worker.model.options import Options
from worker.model.recipe import Recipe
from worker.model.served import load_network
from worker.model.vocabulary import choose_pieces, count_pieces, trim_encoder, trim_tokenizer


def copy_start(start_from: Path, out: Path) -> None:
    """Copy a base folder to `out`/base, or a checkpoint or a served bundle to `out`/start.

    Raises:
        CheckpointError: `start_from` is none of the three.
    """
    if (start_from / "base.json").is_file():
        shutil.copytree(start_from, out / "base.new", dirs_exist_ok=True)
        (out / "base.new").rename(out / "base")
        return
    checkpoint.save(out / "start", *load_network(start_from))


def prepare_base(source: str, vocabulary: int, data: Path, out: Path) -> None:
    """Import a base and trim it to so many pieces of the served languages, into `out`/base."""
    full = import_base(source, out / "base-full")
    encoder, tokenizer, name = open_base(full)
    keep = choose_pieces(tokenizer, count_pieces(data, tokenizer), vocabulary)
    trimmed = out / "base.new"
    trim_encoder(encoder, keep).save_pretrained(trimmed)
    trim_tokenizer(tokenizer, keep).save(str(trimmed / "tokenizer.json"))
    (trimmed / "base.json").write_text(json.dumps({"base": name}) + "\n")
    trimmed.rename(out / "base")


def check_licence(out: Path, licence: Licence) -> None:
    """Refuse to go on from weights that learned from sources which a model of this licence may not learn from.

    Raises:
        CheckpointError: `out`/start is such a checkpoint.
    """
    if licence == "commercial" and _licence_of_start(out) == "any":
        raise checkpoint.CheckpointError(
            f"{out / 'start'} learned from sources that do not allow commercial use: start from the base or from a "
            "checkpoint of --licence commercial, in another --out"
        )


def licence_of_run(recipe: Recipe, out: Path) -> Licence:
    """Commercial when neither the recipe's sources nor those of `out`/start forbid it."""
    learned = {licence_of(recipe), _licence_of_start(out)}
    return "commercial" if learned == {"commercial"} else "any"


def _licence_of_start(out: Path) -> Licence:
    """That of `out`/start; a base has seen no labelled source."""
    return checkpoint.read_labels(out / "start").licence if (out / "start").is_dir() else "commercial"


def first_network(
    out: Path, topics: tuple[dict[str, str | None], ...], options: Options
) -> tuple[MultiTaskBert, Tokenizer, str]:
    """The network before its first step, its tokenizer, and the name of its base.

    A wide part of the start is left out: it would keep the encoder from learning what the table knows, and is made anew
    of the run's end.

    Raises:
        CheckpointError: `out`/start knows other topics.
    """
    if (out / "start").is_dir():
        started, tokenizer, labels = checkpoint.load(out / "start")
        if labels.topics != topics:
            raise checkpoint.CheckpointError(f"{out / 'start'} was trained on other topics; start from the base")
        config, base, state = started.config, labels.base, narrow_state(started)
        config.wide_rows = 0
    else:
        encoder, tokenizer, base = open_base(out / "base")
        config = encoder.config
        state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    # One pass over much data does not over-fit: dropout inside the encoder costs a third of the time on a CPU and
    # gains nothing; the plain attention trains faster there than the fused one (measured: 32 and 27 texts/s).
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = options.encoder_dropout
    config._attn_implementation = "eager"
    network = MultiTaskBert(config, len(topics), options.head_dropout)
    network.load_state_dict(network.state_dict() | state)
    return network, tokenizer, base
