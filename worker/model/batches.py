"""Examples to padded tensors: sorted by length inside a pool, labels laid on tokens."""

import random
from dataclasses import dataclass

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from worker.model.data import IGNORED, Example, token_tags


@dataclass(frozen=True)
class Batch:
    """B texts of T tokens. Rows without a label hold IGNORED (sentiment, tags) or no allowed topic."""

    input_ids: Tensor  # int64 [B, T]
    attention_mask: Tensor  # int64 [B, T]
    sentiment: Tensor  # int64 [B]
    two_class: Tensor  # bool [B]: the source has no neutral label
    topics: Tensor  # bool [B, K]: the columns that the label may mean
    tags: Tensor  # int64 [B, T]
    parts: Tensor  # bool [B, 2, T]: the tokens of each part
    part_sentiment: Tensor  # int64 [B, 2]: IGNORED where a text has no parts
    part_two_class: Tensor  # bool [B, 2]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Batcher:
    """Turns pools of examples into batches."""

    tokenizer: Tokenizer  # truncation set to the longest sequence
    pad_id: int
    topic_count: int
    two_class_sources: frozenset[str]
    batch_size: int

    def batches(self, pool: list[Example], seed: str) -> list[Batch]:
        """The pool's batches, each of similar lengths, in random order."""
        encodings = self.tokenizer.encode_batch([example.text for example in pool])
        order = sorted(range(len(pool)), key=lambda i: len(encodings[i].ids))
        starts = list(range(0, len(pool), self.batch_size))
        random.Random(seed).shuffle(starts)  # noqa: S311 - repeatable on purpose
        return [self._batch([(pool[i], encodings[i]) for i in order[at : at + self.batch_size]]) for at in starts]

    def _batch(self, rows: list[tuple[Example, Encoding]]) -> Batch:
        length = max(len(encoding.ids) for _, encoding in rows)
        ids = torch.full((len(rows), length), self.pad_id)
        mask = torch.zeros((len(rows), length), dtype=torch.int64)
        tags = torch.full((len(rows), length), IGNORED)
        sentiment = torch.full((len(rows),), IGNORED)
        two_class = torch.zeros(len(rows), dtype=torch.bool)
        topics = torch.zeros((len(rows), self.topic_count), dtype=torch.bool)
        parts = torch.zeros((len(rows), 2, length), dtype=torch.bool)
        part_sentiment = torch.full((len(rows), 2), IGNORED)
        part_two_class = torch.zeros((len(rows), 2), dtype=torch.bool)
        for row, (example, encoding) in enumerate(rows):
            size = len(encoding.ids)
            ids[row, :size] = torch.tensor(encoding.ids)
            mask[row, :size] = 1
            if example.sentiment is not None:
                sentiment[row] = example.sentiment
                two_class[row] = example.source in self.two_class_sources
            if example.topic is not None:
                topics[row, sorted(example.topic)] = True
            if example.spans is not None:
                tags[row, :size] = torch.tensor(token_tags(encoding, example.spans))
            for number, part in enumerate(example.parts):
                inside = [start < part.end and part.start < end > start for start, end in encoding.offsets]
                if any(inside):  # the second part may lie behind the longest sequence
                    parts[row, number, :size] = torch.tensor(inside)
                    part_sentiment[row, number] = part.sentiment
                    part_two_class[row, number] = part.source in self.two_class_sources
        return Batch(ids, mask, sentiment, two_class, topics, tags, parts, part_sentiment, part_two_class)
