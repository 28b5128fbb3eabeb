"""From a text to windows of tokens: normalise, identify the language, tokenize, cut into overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from worker.analysis.bundle import Bundle
from worker.errors import BadRecord
from worker.events import Flag
from worker.text.language import Identifier
from worker.text.normalise import Normalised, normalise

Ints = NDArray[np.int32]
Tokens = tuple[Ints, Ints, Ints]
"""Ids, starts and ends of the tokens of a text, int32 [N] each; see `Prepared`."""

# A token needs about 0.8 KB while the tokenizer holds it: these two bound a call to some 30 MB, whatever the text.
CHUNK_CHARS = 2048
CHUNKS_A_CALL = 16
# Each window repeats up to this many tokens of the one before it, so that none is read without its surroundings.
OVERLAP_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text's tokens with the special tokens around it: what takes one row of a batch.

    `ids` is int32 [length]; `first` is the index, in the text's tokens, of the first that is not special.
    """

    ids: Ints
    first: int

    @property
    def length(self) -> int:
        """Tokens, special ones included."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One text, ready for the model.

    `starts` and `ends`, int32 [N], are the character offsets in `normalised.text` of all N tokens of the text without
    special tokens; a token that is only a space, also one that the tokenizer added, has start == end.
    """

    text: str
    normalised: Normalised
    language: str
    language_confidence: float
    flags: tuple[Flag, ...]
    starts: Ints
    ends: Ints
    windows: tuple[Window, ...]  # at least 1


class Preparer:
    """Turns texts into `Prepared`. CPU-bound and thread-safe: call it in a worker thread.

    Args:
        max_windows: a text that needs more is a bad record.
    """

    def __init__(self, bundle: Bundle, identifier: Identifier, max_windows: int) -> None:
        self.bundle = bundle
        self._identifier = identifier
        self._window_tokens = bundle.window_tokens - len(bundle.prefix_ids) - len(bundle.suffix_ids)
        self._overlap = min(OVERLAP_TOKENS, self._window_tokens // 4)
        self._max_tokens = self._overlap + max_windows * (self._window_tokens - self._overlap)

    def prepare(self, text: str, hint: str | None = None) -> Prepared:
        """Prepare one text; `hint` is the publisher's BCP 47 tag.

        Raises:
            BadRecord: stage `tokenize`: `text_too_long`, `lone_surrogate` or `tokenizer_failed`.
        """
        [prepared] = self.prepare_many([(text, hint)])
        if isinstance(prepared, BadRecord):
            raise prepared
        return prepared

    def prepare_many(self, texts: Sequence[tuple[str, str | None]]) -> list[Prepared | BadRecord]:
        """Prepare (text, hint) pairs; the answer has their order, and a bad text takes no other with it.

        Texts of up to `CHUNK_CHARS` are tokenized together, 1.6 times faster than one by one; the others are
        read chunk by chunk, and only as far as `max_windows` reaches.
        """
        normalised = [normalise(text) for text, _ in texts]
        short = [at for at, each in enumerate(normalised) if len(each.text) <= CHUNK_CHARS]
        encoded: dict[int, Tokens | BadRecord] = {}
        for start in range(0, len(short), CHUNKS_A_CALL):
            places = short[start : start + CHUNKS_A_CALL]
            encoded.update(zip(places, self._encode_many([normalised[at].text for at in places]), strict=True))
        return [
            self._finish(text, hint, each, encoded.pop(at, None))
            for at, ((text, hint), each) in enumerate(zip(texts, normalised, strict=True))
        ]

    def _encode_many(self, texts: list[str]) -> Sequence[Tokens | BadRecord]:
        """Tokenize together, or one by one when a text breaks the tokenizer."""
        try:
            return _tokens_of(self._call_tokenizer(texts), texts)
        except BadRecord as error:
            if len(texts) == 1:
                return [error]
            return [tokens for text in texts for tokens in self._encode_many([text])]

    def _call_tokenizer(self, texts: list[str]) -> list[Encoding]:
        """Tokenize without special tokens; every failure of the library becomes a BadRecord."""
        try:
            return self.bundle.tokenizer.encode_batch(texts, add_special_tokens=False)
        except TypeError:
            # "TextInputSequence must be str": the text has no UTF-8 form.
            raise BadRecord("tokenize", "lone_surrogate", "the text holds half of a surrogate pair") from None
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise BadRecord("tokenize", "tokenizer_failed", type(error).__name__) from None
        except BaseException as error:
            # A panic in Rust is not an Exception, and its class cannot be imported (openai/tiktoken issue 15).
            if type(error).__name__ != "PanicException":
                raise
            raise BadRecord("tokenize", "tokenizer_failed", "panic") from None

    def _finish(
        self, text: str, hint: str | None, normalised: Normalised, encoded: Tokens | BadRecord | None
    ) -> Prepared | BadRecord:
        """Cut the tokens into windows; `encoded` is None for a text of more than one chunk."""
        if isinstance(encoded, BadRecord):
            return encoded
        try:
            ids, starts, ends = self._tokens(normalised.text) if encoded is None else encoded
            windows = self._windows(ids)
        except BadRecord as error:
            return error
        language = self._identifier.identify(text, hint)
        flags: list[Flag] = ["language_hint_conflict"] if language.hint_conflict else []
        if not len(ids):
            flags.append("empty_text")
        return Prepared(text, normalised, language.tag, language.confidence, tuple(flags), starts, ends, windows)

    def _tokens(self, text: str) -> Tokens:
        """Ids, starts and ends of a long text, chunk by chunk; stops as soon as it is known to be too long."""
        parts, count = [], 0
        for start, chunk in _chunks(text):
            [(ids, starts, ends)] = _tokens_of(self._call_tokenizer([chunk]), [chunk])
            parts.append((ids, starts + np.int32(start), ends + np.int32(start)))
            count += len(ids)
            self._check_length(count)
        ids, starts, ends = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ids, starts, ends

    def _check_length(self, count: int) -> None:
        if count > self._max_tokens:
            raise BadRecord("tokenize", "text_too_long", f"more than {self._max_tokens} tokens")

    def _windows(self, ids: Ints) -> tuple[Window, ...]:
        """Overlapping windows of equal length: none is left with a few tokens and no surroundings."""
        self._check_length(len(ids))
        step = self._window_tokens - self._overlap
        count = max(1, -(-(len(ids) - self._overlap) // step))
        length = -(-(len(ids) + (count - 1) * self._overlap) // count)
        firsts = [at * (len(ids) - length) // max(1, count - 1) for at in range(count)]
        prefix, suffix = np.array(self.bundle.prefix_ids, np.int32), np.array(self.bundle.suffix_ids, np.int32)
        return tuple(Window(np.concatenate((prefix, ids[first : first + length], suffix)), first) for first in firsts)


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Parts of at most `CHUNK_CHARS` characters with their place, cut before a space where there is one.

    Tokenizers that split at spaces read parts as they read the whole; where there is none to cut at (Chinese,
    Japanese, Thai), one more token begins the next part.
    """
    start = 0
    while start < len(text):
        end = start + CHUNK_CHARS
        if end < len(text):
            space = text.rfind(" ", start + 1, end + 1)
            end = space if space > 0 else end
        yield start, text[start:end]
        start = end


def _tokens_of(encodings: Sequence[Encoding], texts: Sequence[str]) -> list[Tokens]:
    """The tokens of each text, for all at once: a seventh of the time of one by one.

    A leading space is outside its token.
    """
    borders = [0, *accumulate(map(len, encodings))]
    ids = np.fromiter(chain.from_iterable(each.ids for each in encodings), np.int32, borders[-1])
    pairs = chain.from_iterable(each.offsets for each in encodings)
    starts, ends = np.fromiter(chain.from_iterable(pairs), np.int32, 2 * borders[-1]).reshape(-1, 2).T
    # The texts one behind the other, each with one more character, at which a token may begin that is empty.
    codes = np.frombuffer("\0".join([*texts, ""]).encode("utf-32-le"), np.uint32)
    bases = [0, *accumulate(len(text) + 1 for text in texts[:-1])]
    places = starts + np.repeat(np.array(bases, np.int32), np.diff(borders))
    moved = np.minimum(codes[places] == ord(" "), ends - starts)
    starts, places = starts + moved, places + moved
    # The space that the tokenizer puts before a text claims the place of the first character: it has none.
    ends = np.maximum(starts, np.where(places == np.append(places[1:], -1), 0, ends))
    return [(ids[a:b], starts[a:b], ends[a:b]) for a, b in pairwise(borders)]
