"""Posting an alert to one URL: signed, with a deadline, over TLS, and never to where a redirect points."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from worker.alerts.signature import read_secret, signed_headers
from worker.errors import ConfigInvalid, NotDelivered
from worker.settings import Settings
from worker.timing import Clock

USER_AGENT = "polyvox"
CHANNEL = "webhook:"
"""What the names of webhooks begin with among the channels; a digest of the URL follows, since the URL is secret."""


class Sender(Protocol):
    """Takes one alert to one receiver."""

    async def send(self, message_id: str, body: bytes) -> None:
        """Return when the receiver has it.

        Raises:
            NotDelivered: it may not have it.
        """
        ...


class Webhook:
    """A receiver at a URL.

    Args:
        session: whose connections are used; closed by its owner.
        url: https, or http to this machine.
        key: signs what is sent.
        clock: the time that is signed.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, key: bytes, clock: Clock) -> None:
        self._session = session
        self._url = url
        self._key = key
        self._clock = clock
        self._where = urlsplit(url).netloc.rpartition("@")[2]

    async def send(self, message_id: str, body: bytes) -> None:
        headers = signed_headers(self._key, message_id, self._clock.unix_ms() // 1000, body)
        headers |= {"content-type": "application/json", "user-agent": USER_AGENT}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The error's own text may hold the URL, and the URL a token.
            raise NotDelivered(f"{self._where} cannot be reached ({type(error).__name__})") from None
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            gone = status == HTTPStatus.GONE  # the receiver wants no more: Standard Webhooks, "Delivery"
            raise NotDelivered(f"{self._where} answered {status}", for_good=gone)


def channel_of(url: str) -> str:
    """The name of a URL's channel: it tells receivers apart and keeps the URL to the settings."""
    return CHANNEL + hashlib.sha256(url.encode()).hexdigest()[:12]


def open_session(settings: Settings) -> aiohttp.ClientSession:
    """Connections for webhooks: certificates are verified, no cookies, no proxies from the environment."""
    timeout = aiohttp.ClientTimeout(total=settings.alert_webhook_timeout_s)
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


def webhooks(settings: Settings, session: aiohttp.ClientSession, clock: Clock) -> Mapping[str, Sender]:
    """The configured receivers by channel.

    Raises:
        ConfigInvalid: see `check_webhooks`.
    """
    key = check_webhooks(settings)
    return {channel_of(url): Webhook(session, url, key, clock) for url in settings.webhook_urls}


def check_webhooks(settings: Settings) -> bytes:
    """The key that signs, after a look at every URL; empty without webhooks.

    Raises:
        ConfigInvalid: an URL that is no URL or not safe, or an unusable secret.
    """
    if not settings.webhook_urls or settings.alert_webhook_secret is None:
        return b""
    for number, url in enumerate(settings.webhook_urls, start=1):
        _require_safe(url, number, plain_http=settings.alert_webhook_plain_http)
    return read_secret(settings.alert_webhook_secret.get_secret_value())


def _require_safe(url: str, number: int, *, plain_http: bool) -> None:
    """Refuse what is no URL, and plain text over a network; the URL itself is not shown, as it may hold a token."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigInvalid(f"URL {number} in POLYVOX_ALERT_WEBHOOKS is none: expected https://host/path")
    if parts.scheme == "http" and not plain_http and not _is_loopback(host):
        raise ConfigInvalid(
            f"URL {number} in POLYVOX_ALERT_WEBHOOKS goes to {host} in plain text: use https, or set "
            "POLYVOX_ALERT_WEBHOOK_PLAIN_HTTP=true on a network that you trust"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
