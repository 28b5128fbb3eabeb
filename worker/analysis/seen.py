"""Windows that the model answered before: retweets and syndicated headlines need no second inference.

What is kept are raw logits of the normalised text's tokens, so that mentions, links, language and calibration are
worked out anew for each post.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from worker.analysis.inference import Logits
from worker.analysis.prepare import Window

ENTRY_BYTES = 740
"""What an entry takes beside its numbers: key, four arrays, places in the dictionary; by tracemalloc."""


class SeenWindows:
    """Answers by the tokens of their window, at most `size_bytes`; the one used longest ago goes first.

    A key is a hash under a secret of this process, so that nobody who writes posts can aim at another's entry. One
    bundle a process: an answer of another model cannot be here. Not thread-safe.
    """

    def __init__(self, size_bytes: int) -> None:
        self._left_bytes = size_bytes
        self._answers: OrderedDict[bytes, Logits] = OrderedDict()
        self._secret = secrets.token_bytes(16)

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, window: Window) -> Logits | None:
        """The answer to the same tokens, [1, ...] each, without padding."""
        key = self._key(window)
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    async def answers(
        self, windows: Sequence[Window], infer: Callable[[Sequence[Window]], Awaitable[Sequence[Logits]]]
    ) -> list[Logits]:
        """The answer to each window, in order; asks for those not known, once for equal ones.

        Args:
            windows: one batch.
            infer: answers [1, ...] in order; what it raises is passed on, and nothing is kept then.
        """
        keys = [self._key(window) for window in windows]
        found = {key: self._answers[key] for key in keys if key in self._answers}
        unknown = {key: window for key, window in zip(keys, windows, strict=True) if key not in found}
        if unknown:
            asked = zip(unknown.items(), await infer(list(unknown.values())), strict=True)
            for (key, window), answer in asked:
                found[key] = answer
                self._keep(key, answer, window.length)
        return [found[key] for key in keys]

    def _key(self, window: Window) -> bytes:
        return hashlib.blake2b(window.ids.tobytes(), digest_size=16, key=self._secret).digest()

    def _keep(self, key: bytes, answer: Logits, length: int) -> None:
        """Copy an answer without its padding: the rows of a batch are views that would keep all of it alive."""
        if key in self._answers:
            return
        kept = Logits(
            answer.sentiment.copy(),
            answer.topic.copy(),
            answer.tags[:, :length].copy(),
            answer.token_sentiment[:, :length].copy(),
        )
        self._answers[key] = kept
        self._left_bytes -= _size_bytes(kept)
        while self._left_bytes < 0:
            _, oldest = self._answers.popitem(last=False)
            self._left_bytes += _size_bytes(oldest)


def _size_bytes(answer: Logits) -> int:
    arrays = (answer.sentiment, answer.topic, answer.tags, answer.token_sentiment)
    return ENTRY_BYTES + sum(array.nbytes for array in arrays)
