"""Answers of the model that all workers of an installation share for a time: opaque bytes, and no text in Redis.

A question is only there as a hash under a secret of the installation, so that nobody who writes posts can aim at the
answer to another text, and nobody who sees the keys alone can try texts against them.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.client import NEVER_DECODE
from redis.exceptions import NoPermissionError

from worker.errors import StoreUnavailable
from worker.opinion import keys
from worker.opinion.client import Link
from worker.settings import Settings
from worker.timing import Clock, SystemClock

DEADLINE_S = 0.1
"""Of one call: about what a batch takes on a CPU."""
FULLEST = 0.8
"""Share of `maxmemory` from which no answer is kept: the rest is for the counters, which wait when Redis is full."""
ROOM_KNOWN_S = 5.0
"""How long the server is taken to have room after it said so."""

_DIGEST_BYTES = 16
_SECRET_BYTES = 32


class AnswerStore(Protocol):
    """Remembers answers by what was asked; may forget any of them at any time. Every call ends within a deadline."""

    async def get_many(self, questions: Sequence[bytes]) -> list[bytes | None]:
        """What was put for each question, in order; None where nothing is known.

        Raises:
            StoreUnavailable, ConfigInvalid: the store does not answer.
        """
        ...

    async def put_many(self, answers: Mapping[bytes, bytes]) -> None:
        """Remember answers by question.

        Raises:
            StoreUnavailable, ConfigInvalid: the store did not take all of them.
        """
        ...


class RedisAnswers:
    """A key an answer, which expires.

    Args:
        link: the connection, whose deadline bounds every call; closed by its owner.
        kept_s: how long an answer is kept.
        clock: when the server is asked again whether it has room.
    """

    def __init__(self, link: Link, kept_s: int, clock: Clock | None = None) -> None:
        self._link = link
        self._kept_s = kept_s
        self._clock = clock or SystemClock()
        self._room_until_s = float("-inf")
        self._secret = b""

    @staticmethod
    def link_of(settings: Settings) -> Link:
        """A connection to the Redis that is configured, with the short deadline of this store."""
        return Link(settings.redis_url.get_secret_value(), min(DEADLINE_S, settings.redis_timeout_s))

    async def get_many(self, questions: Sequence[bytes]) -> list[bytes | None]:
        async with self._link.use("looking up answers") as client:
            names = await self._names(client, questions)
            found: list[bytes | None] = await _undecoded(client, "MGET", *names)
        return found

    async def put_many(self, answers: Mapping[bytes, bytes]) -> None:
        async with self._link.use("keeping answers") as client:
            await self._find_room(client)
            names = await self._names(client, [*answers])
            async with client.pipeline(transaction=False) as pipe:
                for name, value in zip(names, answers.values(), strict=True):
                    pipe.set(name, value, ex=self._kept_s)
                replies = await pipe.execute(raise_on_error=False)
            for reply in replies:  # raised here: the pipeline itself would put half of the value into the message
                if isinstance(reply, Exception):
                    raise reply

    async def _find_room(self, client: Any) -> None:
        """Refuse before answers take what the counters need; a server that does not tell its memory is trusted."""
        now_s = self._clock.monotonic_s()
        if now_s < self._room_until_s:
            return
        facts: dict[str, Any] = {}
        with suppress(NoPermissionError):
            facts = await client.info("memory")
        used_bytes, limit_bytes = int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))
        if limit_bytes and used_bytes > FULLEST * limit_bytes:
            raise StoreUnavailable(
                f"Redis at {self._link.address} uses {used_bytes} of {limit_bytes} bytes: no more answers are kept, "
                f"so that the counters find room; raise maxmemory or lower POLYVOX_SHARED_ANSWERS_S"
            )
        self._room_until_s = now_s + ROOM_KNOWN_S

    async def _names(self, client: Any, questions: Sequence[bytes]) -> list[str]:
        """The keys; the first call finds the secret, which the first worker makes."""
        if not self._secret:
            found = await _undecoded(client, "GET", keys.ANSWERS_KEY)
            if found is None:  # asked before it is made: a full Redis, or a replica, answers too
                await client.set(keys.ANSWERS_KEY, secrets.token_urlsafe(_SECRET_BYTES), nx=True)
                found = await _undecoded(client, "GET", keys.ANSWERS_KEY)
            if not found:
                raise StoreUnavailable(
                    f"Redis at {self._link.address} lost {keys.ANSWERS_KEY} at once; look at its log"
                )
            self._secret = hashlib.blake2b(found, digest_size=_SECRET_BYTES).digest()
        return [keys.answer(self._digest(question)) for question in questions]

    def _digest(self, question: bytes) -> str:
        digest = hashlib.blake2b(question, key=self._secret, digest_size=_DIGEST_BYTES).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def _undecoded(client: Any, *command: str) -> Any:
    """The reply to a command as bytes."""
    return await client.execute_command(*command, **{NEVER_DECODE: True})


@dataclass
class MemoryAnswers:
    """The store in memory, which forgets nothing. Fields may be changed between calls.

    Args:
        answers: by question.
        away: no call is answered.
        full: nothing more is taken.
        calls: `get` or `put` with how many, in order; refused ones too.
    """

    answers: dict[bytes, bytes] = field(default_factory=dict)
    away: bool = False
    full: bool = False
    calls: list[tuple[str, int]] = field(default_factory=list)

    async def get_many(self, questions: Sequence[bytes]) -> list[bytes | None]:
        self.calls.append(("get", len(questions)))
        if self.away:
            raise StoreUnavailable("in memory: the store is away")
        return [self.answers.get(question) for question in questions]

    async def put_many(self, answers: Mapping[bytes, bytes]) -> None:
        self.calls.append(("put", len(answers)))
        if self.away or self.full:
            raise StoreUnavailable("in memory: the store is away or full")
        self.answers.update(answers)
