"""The connection to Redis: time limits, one map of foreign errors to ours, and what is refused at start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    foreign.NoPermissionError: ConfigInvalid,
    foreign.ReadOnlyError: StoreUnavailable,
    foreign.OutOfMemoryError: StoreUnavailable,
    foreign.TryAgainError: StoreUnavailable,
    foreign.ClusterDownError: StoreUnavailable,
    foreign.MasterDownError: StoreUnavailable,
    foreign.ExecAbortError: StoreUnavailable,
    OSError: StoreUnavailable,
    TimeoutError: StoreUnavailable,
}
