"""Authors as keyed hashes: who weighs how much can be told, who it is cannot.

The key is a setting, or else a random one of the installation, kept in Redis. The second guards what leaves Redis (an
export, a dashboard), not against somebody who reads Redis and guesses names: whoever needs that sets the key.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable

from worker.opinion import keys
from worker.opinion.client import Link
from worker.settings import Settings

AuthorHash = Callable[[str], str]
"""An author as the publisher wrote it -> 12 characters; "" for none."""

_HASH_BYTES = 9
_KEY_BYTES = 32


def author_hash(key: bytes) -> AuthorHash:
    """The hash under a key of any length: 72 bits of keyed BLAKE2b, in URL-safe base 64."""
    short_key = hashlib.blake2b(key, digest_size=_KEY_BYTES).digest()

    def of(author: str) -> str:
        if not author:
            return ""
        digest = hashlib.blake2b(author.encode("utf-8", "replace"), key=short_key, digest_size=_HASH_BYTES).digest()
        return base64.urlsafe_b64encode(digest).decode()

    return of


class AuthorHashes:
    """Finds the key once: that of the settings, or the one in Redis, which the first worker makes.

    Args:
        link: the connection; closed by its owner.
    """

    def __init__(self, link: Link, settings: Settings) -> None:
        self._link = link
        configured = settings.author_key
        self._hash = author_hash(configured.get_secret_value().encode()) if configured else None

    async def ready(self) -> AuthorHash:
        """The hash that every worker of this installation uses.

        Raises:
            StoreUnavailable, ConfigInvalid: Redis does not give the key.
        """
        if self._hash is None:
            async with self._link.use("reading the authors' key") as client:
                await client.set(keys.AUTHOR_KEY, secrets.token_urlsafe(_KEY_BYTES), nx=True)
                self._hash = author_hash(str(await client.get(keys.AUTHOR_KEY)).encode())
        return self._hash
