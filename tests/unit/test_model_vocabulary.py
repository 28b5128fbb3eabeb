"""Trimming the vocabulary: what is kept reads as before, what is not falls back to smaller kept pieces."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402 - after the skip
from transformers import BertConfig, BertModel  # noqa: E402

from worker.model import vocabulary  # noqa: E402

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "n", "k", "▁b", "▁bank", "ank", "▁banana", "ana", "ж", "▁ж"]


def unigram() -> Tokenizer:
    """A tiny SentencePiece-like tokenizer: longer pieces are cheaper than what they are made of."""
    scores = [(piece, -1.0 if index > 8 and len(piece) > 2 else -4.0) for index, piece in enumerate(PIECES)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def test_kept_pieces_read_as_before():
    """A text whose pieces are all kept gets the same pieces, and the ends keep their meaning."""
    full = unigram()
    keep = sorted(
        full.encode("bank").ids + [PIECES.index(piece) for piece in ("<pad>", "<unk>", "▁", "a", "b", "n", "k")]
    )
    trimmed = vocabulary.trim_tokenizer(full, keep)
    assert trimmed.encode("bank").tokens == full.encode("bank").tokens == ["<s>", "▁bank", "</s>"]
    assert trimmed.encode("bank").ids == [keep.index(ident) for ident in full.encode("bank").ids]


def test_a_dropped_piece_falls_back_to_kept_ones():
    """A word without a piece of its own is spelled with the characters of kept pieces and is never unknown."""
    full = unigram()
    counts = {"en": Counter({PIECES.index("▁bank"): 1000, PIECES.index("▁banana"): 1})}
    keep = vocabulary.choose_pieces(full, counts, target=5)
    trimmed = vocabulary.trim_tokenizer(full, keep)
    assert "▁banana" not in trimmed.get_vocab()
    assert trimmed.encode("bank").tokens[1:-1] == ["▁bank"]
    assert trimmed.encode("knab").tokens[1:-1] == ["▁", "k", "n", "a", "b"]


def test_rare_characters_are_kept_and_languages_are_balanced():
    """A character seen three times stays beside a language with a million tokens; specials always stay."""
    full = unigram()
    counts = {
        "en": Counter({PIECES.index("▁bank"): 1_000_000}),
        "ru": Counter({PIECES.index("ж"): vocabulary.RARE_CHARACTER}),
    }
    keep = vocabulary.choose_pieces(full, counts, target=6)
    kept = {PIECES[ident] for ident in keep}
    assert {"<s>", "<pad>", "</s>", "<unk>", "ж"} <= kept
    assert vocabulary.coverage(counts, keep) == {"en": 1.0, "ru": 1.0}


def test_trimmed_encoder_answers_as_the_full_one():
    """With remapped ids the trimmed encoder gives the same vectors: rows moved together with their pieces."""
    config = BertConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, pad_token_id=1
    )
    encoder = BertModel(config, add_pooling_layer=False).eval()
    keep = [0, 1, 2, 3, 7, 12]
    with torch.inference_mode():
        before = encoder(torch.tensor([[0, 12, 7, 2]])).last_hidden_state
        after = vocabulary.trim_encoder(encoder, keep)(torch.tensor([[0, 5, 4, 2]])).last_hidden_state
    assert torch.equal(before, after)
    assert encoder.config.vocab_size == len(keep)
