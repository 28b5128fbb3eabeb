"""From a checkpoint, or an int8 bundle, to the bundle that is served. Whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

from worker.analysis import calibration
from worker.analysis.onnx_session import session_options
from worker.errors import ModelInvalid
from worker.model import onnx_bert
from worker.model.network import MultiTaskBert
from worker.model.onnx_bundle import changed_configs, replace_folder
from worker.model.onnx_linear import Precision
from worker.model.replacing import write_whole
from worker.model.served import load_network

Floats = NDArray[np.float32]

MODEL_NAME = "analyzer"
VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
# Root mean square over all probabilities. float32 must be the network; the others may round (int8 0.004 for the
# first trained weights), where an error in the graph moves probabilities by 0.1 and more.
LARGEST_CHANGE: dict[Precision, float] = {"float32": 0.0005, "float16": 0.002, "int4-embeddings": 0.02, "int8": 0.02}
PARITY_TEXTS = (
    "Boeing faces another costly delay after engineers in Seattle found serious cracks.",
    "Ein großartiger Abend mit Freunden in Hamburg, vielen Dank!",
    "Air France a encore annulé mon vol, c'est scandaleux 😡",
    "El Banco Central mantiene los tipos de interés en el 4 %.",
    "公司公布了创纪录的利润，股价上涨。",
    "新しいカメラはとても良いですが、少し高いです。",
    "أعلنت الشركة عن أرباح قياسية في الربع الثالث",
    "कंपनी ने रिकॉर्ड मुनाफा दर्ज किया",
    "Сборная выиграла матч в Москве со счётом 3:1.",
    "ok",
    (
        "Helseministeren åpnet det nye sykehuset i Bergen; flere hundre møtte fram for å se bygget, og mange var "
        "imponert over hvor raskt arbeidet hadde gått siden den første planen ble lagt fram for åtte år siden."
    ),
)


@dataclass(frozen=True)
class Parity:
    """How far the exported file is from the network, over `PARITY_TEXTS` in one padded batch."""

    typical_change: float  # of a probability, root mean square over all heads
    largest_change: float  # of a probability
    logit_change: float  # the largest
    labels_kept: float  # share of sentiment, topic and tag labels that stay


@dataclass(frozen=True)
class Exported:
    """What an export made."""

    folder: Path
    version: str  # as events carry it
    parity: Parity
    total_bytes: int


def export(checkpoint_folder: Path, out: Path, version: str, precision: Precision = "int8") -> Exported:
    """Write the checkpoint as a bundle into `out`, a version directory of a Triton model.

    What else lies in `out`, such as model.py, is carried over; the configurations beside `out` are told the number of
    topics and the version. int8 is for CPUs; float16 and float32 are for accelerators, where the int8 operators would
    fall back to the CPU.

    Args:
        checkpoint_folder: or an int8 bundle, whose calibration then goes into the new one: the weights are the same.
        version: semantic version of the weights; part of the name that every event carries.

    Raises:
        ModelInvalid: the exported file answers otherwise than the network does, `version` is no version, or a
            configuration has no place for it; nothing is written.
        CheckpointError: the checkpoint or bundle cannot be used.
    """
    if not VERSION.fullmatch(version):
        raise ModelInvalid(f"{version!r} is not a semantic version, such as 1.2.0; every event carries it")
    network, tokenizer, labels = load_network(checkpoint_folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    content = to_onnx(network, precision)
    parity = compare(network, content, tokenizer)
    if not parity.typical_change <= LARGEST_CHANGE[precision]:  # also refuses NaN
        raise ModelInvalid(
            f"{checkpoint_folder} exported as {precision} changes probabilities by {parity.typical_change:.4f}, more "
            f"than {LARGEST_CHANGE[precision]}: nothing was written; export it as float32 and compare both on dev data"
        )
    files = {"model.onnx": content, "tokenizer.json": tokenizer.to_str(pretty=False).encode()}
    if (learned := checkpoint_folder / calibration.FILE).is_file():
        files[calibration.FILE] = learned.read_bytes()
    manifest = {
        "name": MODEL_NAME,
        "version": version,
        "base": labels.base,
        "max_tokens": network.config.max_position_embeddings,
        "window_tokens": labels.window_tokens,
        "pad_id": network.config.pad_token_id,
        **{key: asdict(labels)[key] for key in ("sentiment", "tags", "topics", "languages", "licence")},
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    files["bundle.json"] = (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
    full_version = f"{MODEL_NAME}:{version}+{hashlib.sha256(content).hexdigest()[:8]}"
    configs = changed_configs(out.parent, len(labels.topics), full_version)
    replace_folder(out, files)
    for path, text in configs.items():
        write_whole(path, text.encode())
    return Exported(out, full_version, parity, sum(map(len, files.values())))


def to_onnx(network: MultiTaskBert, precision: Precision) -> bytes:
    """The network as a serialised ONNX model; see `onnx_bert.build` for its inputs and outputs."""
    config = network.config
    if config.hidden_act != "gelu":
        raise ModelInvalid(f"the graph writer knows GELU, the network uses {config.hidden_act}")
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    shape = onnx_bert.Shape(config.num_hidden_layers, config.num_attention_heads, config.layer_norm_eps)
    return onnx_bert.build(weights, shape, precision)


def compare(network: MultiTaskBert, content: bytes, tokenizer: Tokenizer) -> Parity:
    """Run network and file over `PARITY_TEXTS`; padded positions do not count."""
    ids, mask = collate([tokenizer.encode(text).ids for text in PARITY_TEXTS], network.config.pad_token_id)
    session = InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        outputs = network(torch.from_numpy(ids), torch.from_numpy(mask))
    expected = [output.numpy() for output in outputs]
    tokens = mask == 1
    pairs = [(found[0], expected[0]), (found[1], expected[1])]
    pairs += [(found[at][tokens], expected[at][tokens]) for at in (2, 3)]
    same = np.concatenate([one.argmax(axis=-1) == other.argmax(axis=-1) for one, other in pairs])
    changes = np.concatenate([(softmax(one) - softmax(other)).ravel() for one, other in pairs])
    return Parity(
        typical_change=float(np.sqrt(np.mean(changes**2))),
        largest_change=float(np.abs(changes).max()),
        logit_change=max(float(np.abs(one - other).max()) for one, other in pairs),
        labels_kept=float(same.mean()),
    )


def collate(rows: list[list[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pad token ids to one rectangle: input_ids and attention_mask, int64 [B, T]."""
    ids = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def softmax(logits: Floats) -> Floats:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares
