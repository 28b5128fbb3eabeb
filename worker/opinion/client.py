"""The connection to Redis: deadlines, one map of foreign errors to ours, and what is refused at start.

redis-py repeats a command whose reply was lost, which would count an INCR or a script twice. Everything that
polyvox sends is therefore safe to repeat by itself: `apply.lua` carries its guard, a strike its own token.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import redis.asyncio
from redis import exceptions as foreign
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from worker.errors import ConfigInvalid, PolyvoxError, StoreUnavailable
from worker.opinion import keys
from worker.settings import Settings

OLDEST_SERVER = (6, 2)

# The nearest ancestor of an error decides; a test walks all of redis.exceptions and proves that each has one.
ERRORS: dict[type[BaseException], type[PolyvoxError]] = {
    foreign.RedisError: StoreUnavailable,
    foreign.ResponseError: ConfigInvalid,
    foreign.DataError: ConfigInvalid,
    foreign.AuthenticationError: ConfigInvalid,
    foreign.AuthorizationError: ConfigInvalid,
    foreign.RedisClusterException: ConfigInvalid,
    foreign.ClusterDownError: StoreUnavailable,
    foreign.IncorrectPolicyType: ConfigInvalid,
    foreign.ChildDeadlockedError: ConfigInvalid,
    OSError: StoreUnavailable,  # TimeoutError too
}

# An error reply begins with its code; up to Redis 6, one from inside a script carries it further on, after "-".
_CODE = re.compile(r"(?:^|: -)([A-Z]{2,})\b")
TRANSIENT_REPLIES: dict[str, str] = {
    "OOM": "Redis is full; free memory or raise maxmemory, the partition waits until then",
    "LOADING": "Redis is loading its data; wait",
    "READONLY": "this Redis is a replica; point POLYVOX_REDIS_URL at the primary, or wait for the failover",
    "MASTERDOWN": "the replica lost its primary; wait for the failover",
    "CLUSTERDOWN": "the cluster is down; wait for it",
    "TRYAGAIN": "the cluster moves this slot; wait",
    "MISCONF": "Redis cannot save to its disk and refuses writes; look at its log",
    "NOREPLICAS": "too few replicas are in sync for Redis to take writes; look at its replicas",
    "BUSY": "Redis is running a long script; wait",
}
_HINTS: dict[type[PolyvoxError], str] = {
    StoreUnavailable: "look whether it runs and POLYVOX_REDIS_URL is right",
    ConfigInvalid: "look at POLYVOX_REDIS_URL, its user and that user's rights (docs/redis-layout.md)",
}


def translate(error: BaseException, doing: str, address: str) -> PolyvoxError:
    """Our error for a foreign one, saying what happened, where, and what to do."""
    kind = next(ERRORS[ancestor] for ancestor in type(error).__mro__ if ancestor in ERRORS)
    hint = _HINTS[kind]
    if isinstance(error, foreign.ResponseError):
        codes = [getattr(error, "status_code", None), *_CODE.findall(str(error))]
        for code in codes:
            if code in TRANSIENT_REPLIES:
                kind, hint = StoreUnavailable, TRANSIENT_REPLIES[code]
    detail = str(error) or type(error).__name__
    return kind(f"Redis at {address} failed while {doing}: {detail}: {hint}")


@dataclass(frozen=True)
class Script:
    """A Lua script and the name under which Redis caches it."""

    text: str

    @cached_property
    def sha1(self) -> str:
        """What EVALSHA asks for; not a matter of security."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Link:
    """A pool of connections to one Redis, whose every use has a deadline.

    Args:
        url: `redis://` or `rediss://`.
        timeout_s: deadline of one use, its retry and the connecting included.

    Raises:
        ConfigInvalid: not such a URL.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        try:
            self.redis = redis.asyncio.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 1),  # one, for a pooled connection that died; callers back off
                client_name="polyvox",
            )
        except ValueError as error:
            raise ConfigInvalid(f"POLYVOX_REDIS_URL is not usable ({error}); expected redis://host:port/0") from None
        where = self.redis.connection_pool.connection_kwargs
        self.address = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"

    @classmethod
    def of(cls, settings: Settings) -> Link:
        """The Redis that is configured."""
        return cls(settings.redis_url.get_secret_value(), settings.redis_timeout_s)

    @asynccontextmanager
    async def use(self, doing: str) -> AsyncIterator[redis.asyncio.Redis]:
        """The client for one use; `doing` completes "failed while".

        Raises:
            StoreUnavailable, ConfigInvalid: in place of every error of redis-py.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                yield self.redis
        except tuple(ERRORS) as error:
            raise translate(error, doing, self.address) from error

    async def run(self, script: Script, key: str, *arguments: bytes | str, doing: str) -> list[Any]:
        """Run a script of one key, sent in full when Redis does not know it (first use, restart, SCRIPT FLUSH)."""
        async with self.use(doing) as client:
            try:
                reply = await client.evalsha(script.sha1, 1, key, *arguments)
            except foreign.NoScriptError:
                reply = await client.eval(script.text, 1, key, *arguments)
        return list(reply)

    async def check(self) -> list[str]:
        """Refuse a server that cannot keep the promises.

        Returns:
            Warnings, one line each.

        Raises:
            ConfigInvalid: an evicting memory policy, another key layout, too old a server.
        """
        async with self.use("checking its settings") as client:
            await cast(Awaitable[Any], client.ping())
            try:
                facts: dict[str, Any] = await client.info("everything")
            except foreign.NoPermissionError:
                facts = {}
            await client.set(keys.LAYOUT, keys.LAYOUT_VERSION, nx=True)
            layout = int(await client.get(keys.LAYOUT) or 0)
        if layout != keys.LAYOUT_VERSION:
            raise ConfigInvalid(
                f"Redis at {self.address} holds key layout {layout}, this polyvox writes {keys.LAYOUT_VERSION}: "
                f"rebuild it from Kafka by another, empty database number in POLYVOX_REDIS_URL (docs/redis-layout.md), "
                f"or use the polyvox that wrote it"
            )
        return self._judge(facts)

    def _judge(self, facts: dict[str, Any]) -> list[str]:
        """What INFO says about the promises; a managed Redis may hide all of it."""
        version = str(facts.get("redis_version", ""))
        policy = str(facts.get("maxmemory_policy", ""))
        if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise ConfigInvalid(f"Redis at {self.address} is {version}; polyvox needs 6.2 or later")
        if policy and policy != "noeviction":
            raise ConfigInvalid(
                f"Redis at {self.address} has maxmemory-policy {policy}, which would delete counters: "
                f"run CONFIG SET maxmemory-policy noeviction, and set it in redis.conf"
            )
        warnings = []
        if not version or not policy:
            warnings.append(
                f"Redis at {self.address} does not tell its version or memory policy: "
                f"make sure of 6.2 or later and noeviction"
            )
        if facts and not facts.get("aof_enabled"):
            warnings.append(
                f"Redis at {self.address} runs without an append-only file: after a crash it rolls back to its "
                f"last snapshot, and polyvox reads again from there; appendonly yes shortens that"
            )
        return warnings

    async def aclose(self) -> None:
        """Close the connections."""
        await self.redis.aclose()
