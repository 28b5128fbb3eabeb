"""Signatures of webhooks, as standardwebhooks.com (version 1.0.0) describes them; its libraries verify them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from worker.errors import ConfigInvalid

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


def read_secret(secret: str) -> bytes:
    """The key in a `whsec_…` secret.

    Raises:
        ConfigInvalid: not base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in SECRET_BYTES:
        raise ConfigInvalid(
            "POLYVOX_ALERT_WEBHOOK_SECRET is no webhook secret: make one with "
            "`python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\"`"
        )
    return key


def signed_headers(key: bytes, message_id: str, sent_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a webhook.

    Args:
        key: the shared key.
        message_id: the same in every attempt, so that a receiver knows a repeat.
        sent_s: Unix seconds; a receiver refuses old ones, which stops replays.
        body: the bytes as they are sent.
    """
    digest = hmac.new(key, f"{message_id}.{sent_s}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_s),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
