"""Passages to padded tensors: words hidden, pairs joined, sorted by length inside a pool."""

import random
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from worker.model.data import IGNORED, UNSPACED
from worker.model.pretrain.masking import Vocabulary, mask_words
from worker.model.pretrain.text import Passage
from worker.model.vocabulary import is_special

MASKS = ("<mask>", "[MASK]")  # of SentencePiece and WordPiece bases


class MaskError(ValueError):
    """The tokenizer cannot hide a word; the message says what it lacks."""


@dataclass(frozen=True)
class Batch:
    """B passages of T tokens with M hidden pieces in all."""

    input_ids: Tensor  # int64 [B, T]
    attention_mask: Tensor  # int64 [B, T]
    token_types: Tensor  # int64 [B, T]: 1 for the second text of a pair
    places: Tensor  # int64 [M]: in the flattened B * T
    targets: Tensor  # int64 [M]: the pieces that stood there
    follows: Tensor  # int64 [B]: 1 or 0 for pairs, IGNORED for single texts

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Row:
    """One passage, before padding."""

    ids: list[int]
    places: list[int]
    targets: list[int]
    first_size: int  # tokens of the first text, its ends included
    follows: int


@dataclass(frozen=True)
class Ends:
    """The special pieces around a text."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Batcher:
    """Turns pools of passages into batches; a second text follows behind the closing piece of the first."""

    tokenizer: Tokenizer  # without truncation
    ends: Ends
    vocabulary: Vocabulary
    pad_id: int
    mask_share: float
    max_tokens: int
    batch_size: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, pad_id: int, mask_share: float, max_tokens: int, batch_size: int) -> "Batcher":
        """A batcher for the tokenizer; MaskError when it has no mask piece."""
        pieces = tokenizer.get_vocab()
        mask = next((pieces[name] for name in MASKS if name in pieces), None)
        if mask is None:
            raise MaskError(f"the base's tokenizer has neither {' nor '.join(MASKS)}: masked words need one of them")
        plain = sorted(ident for piece, ident in pieces.items() if not is_special(piece))
        return cls(tokenizer, ends_of(tokenizer), Vocabulary(mask, plain), pad_id, mask_share, max_tokens, batch_size)

    def batches(self, pool: list[Passage], seed: str) -> list[Batch]:
        """The pool's batches, each of similar lengths, in random order."""
        rows = [self.row(passage, f"{seed}/{number}") for number, passage in enumerate(pool)]
        rows.sort(key=lambda row: len(row.ids))
        starts = list(range(0, len(rows), self.batch_size))
        random.Random(seed).shuffle(starts)  # noqa: S311 - repeatable on purpose
        return [self._batch(rows[at : at + self.batch_size]) for at in starts]

    def row(self, passage: Passage, seed: str) -> Row:
        """One passage with some of its words hidden; its texts share the longest sequence evenly."""
        texts = [passage.first] if passage.second is None else [passage.first, passage.second]
        specials = len(self.ends.before) + len(texts) * len(self.ends.after)
        room = (self.max_tokens - specials) // len(texts)
        ids, places, targets, first_size = list(self.ends.before), [], [], 0
        for number, text in enumerate(texts):
            pieces, words = self._pieces(text, passage.language, room)
            masked = mask_words(pieces, words, self.mask_share, self.vocabulary, f"{seed}/{number}")
            places += [len(ids) + place for place in masked.places]
            targets += masked.targets
            ids += [*masked.ids, *self.ends.after]
            first_size = first_size or len(ids)
        follows = IGNORED if passage.second is None else int(passage.follows)
        return Row(ids, places, targets, first_size, follows)

    def _pieces(self, text: str, language: str, room: int) -> tuple[list[int], list[int]]:
        """The pieces of a text, and each one's word.

        In languages written without spaces the tokenizer takes a whole sentence for a word: a piece is the word there.
        """
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        apart = language in UNSPACED
        words = [-1 - at if apart or word is None else word for at, word in enumerate(encoding.word_ids)]
        return encoding.ids[:room], words[:room]

    def _batch(self, rows: list[Row]) -> Batch:
        length = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), length), self.pad_id)
        mask = torch.zeros((len(rows), length), dtype=torch.int64)
        types = torch.zeros((len(rows), length), dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
            mask[number, : len(row.ids)] = 1
            types[number, row.first_size : len(row.ids)] = 1
        places = torch.tensor([number * length + place for number, row in enumerate(rows) for place in row.places])
        targets = torch.tensor([target for row in rows for target in row.targets])
        follows = torch.tensor([row.follows for row in rows])
        return Batch(ids, mask, types, places.long(), targets.long(), follows)


def ends_of(tokenizer: Tokenizer) -> Ends:
    """The special pieces that the tokenizer puts around a text."""
    whole, bare = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
    before = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
    return Ends(tuple(whole[:before]), tuple(whole[before + len(bare) :]))
