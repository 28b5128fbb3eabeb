"""A checkpoint: a folder of config.json, weights.safetensors, labels.json, tokenizer.json, replaced as a whole."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig

from worker.analysis.bundle import Licence
from worker.model.network import SENTIMENT_LABELS, TAG_LABELS, MultiTaskBert
from worker.model.replacing import replaced

FILES = ("config.json", "weights.safetensors", "labels.json", "tokenizer.json")


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be used; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Labels:
    """What the three heads' columns mean, and what the network was made from."""

    topics: tuple[dict[str, str | None], ...]  # id, name, parent (an id or None), in column order
    base: str
    window_tokens: int  # the longest sequence seen in training, BOS and EOS included
    languages: tuple[str, ...]
    sentiment: tuple[str, ...] = SENTIMENT_LABELS
    tags: tuple[str, ...] = TAG_LABELS
    licence: Licence = "any"


def save(folder: Path, network: MultiTaskBert, tokenizer: Tokenizer, labels: Labels) -> None:
    """Write the four files beside `folder`, then swap the folder in: a reader sees the old or the new one."""
    with replaced(folder) as fresh:
        (fresh / "config.json").write_text(json.dumps(network.config.to_dict(), indent=1) + "\n")
        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(state, str(fresh / "weights.safetensors"))
        (fresh / "labels.json").write_text(json.dumps(asdict(labels), ensure_ascii=False, indent=1) + "\n")
        tokenizer.save(str(fresh / "tokenizer.json"))


def load(folder: Path) -> tuple[MultiTaskBert, Tokenizer, Labels]:
    """Read a folder that `save` wrote; the network comes in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    labels = read_labels(folder)
    try:
        config = BertConfig.from_dict(json.loads((folder / "config.json").read_text()))
        network = MultiTaskBert(config, len(labels.topics))
        network.load_state_dict(load_file(str(folder / "weights.safetensors")))
        return network.eval(), Tokenizer.from_file(str(folder / "tokenizer.json")), labels
    except Exception as error:  # safetensors and tokenizers raise bare Exceptions
        raise _damaged(folder, error) from error


def read_labels(folder: Path) -> Labels:
    """What a checkpoint says of its columns and origin; CheckpointError as `load`."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} is not a checkpoint: {', '.join(missing)} missing; write one with `polyvox model fine-tune`"
        )
    try:
        raw: dict[str, Any] = json.loads((folder / "labels.json").read_text())
        lists = {name: tuple(raw[name]) for name in ("topics", "languages", "sentiment", "tags")}
        licence = raw.get("licence", "any")  # an older checkpoint does not say
        return Labels(base=raw["base"], window_tokens=raw["window_tokens"], licence=licence, **lists)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    reason = str(error).partition("\n")[0]
    return CheckpointError(f"{folder} is damaged ({type(error).__name__}: {reason}); copy it again or train anew")
