"""Webhooks: signed as the standard says, sent to nobody but the receiver, and every failure told apart from success."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.alert_samples import alert
from worker.alerts.delivery import webhook_body
from worker.alerts.signature import read_secret, signed_headers
from worker.alerts.webhook import channel_of, check_webhooks, open_session, webhooks
from worker.errors import ConfigInvalid, NotDelivered
from worker.settings import Settings, load_settings
from worker.timing import ManualClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(urls: str, **overrides: object) -> Settings:
    return Settings(alert_webhooks=urls, alert_webhook_secret=SECRET, **overrides)  # type: ignore[arg-type]


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As a receiver does it: written from the standard's text, apart from the code under test."""
    version, _, given = headers["webhook-signature"].partition(",")
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    key = base64.b64decode(secret.split("_", 1)[1])
    expected = hmac.HMAC(key, signed, hashlib.sha256).digest()
    return version == "v1" and hmac.compare_digest(base64.b64decode(given), expected)


@dataclass
class Receiver:
    """A server that gives some answers in turn, the last one for ever."""

    answers: Sequence[int]
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.taken.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.answers[min(len(self.taken), len(self.answers)) - 1]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 307 else {})


def with_receiver(answers: Sequence[int], body: Callable[[Receiver, str], Awaitable[None]]) -> Receiver:
    """Run `body` with the URL of a receiver on this machine."""
    receiver = Receiver(answers)

    async def main() -> None:
        application = web.Application()
        application.router.add_post("/{tail:.*}", receiver.handle)
        async with TestServer(application) as server:
            await body(receiver, str(server.make_url("/hook?token=hidden")))

    asyncio.run(main())
    return receiver


async def send(url: str, **overrides: object) -> None:
    chosen = settings(url, **overrides)
    async with open_session(chosen) as session:
        [sender] = webhooks(chosen, session, ManualClock()).values()
        await sender.send(alert().alert_id, webhook_body(alert()))


def test_the_reference_vector_of_the_standard() -> None:
    """The signature that Standard Webhooks publishes for its example."""
    headers = signed_headers(read_secret(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_verify_what_it_got() -> None:
    """The id is the alert's, the body is the alert, and a changed byte or another secret is noticed."""

    async def body(_: Receiver, url: str) -> None:
        await send(url)

    [(headers, value)] = with_receiver([204], body).taken
    assert verified(SECRET, headers, value)
    assert not verified(SECRET, headers, value.replace(b"down", b"up"))
    assert not verified("whsec_" + base64.b64encode(b"x" * 24).decode(), headers, value)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (alert().alert_id, "1700000000")
    assert headers["content-type"] == "application/json"
    found = json.loads(value)
    assert (found["type"], found["data"]["alert_id"]) == ("alert.raised", alert().alert_id)


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500, 503])
def test_any_other_answer_is_a_failure_that_may_pass(status: int) -> None:
    """A redirect too: it is not followed. The error names the host, not the URL with its token."""

    async def body(_: Receiver, url: str) -> None:
        with pytest.raises(NotDelivered, match=str(status)) as caught:
            await send(url)
        assert not caught.value.for_good
        assert "hidden" not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)

    assert len(with_receiver([status], body).taken) == 1


def test_gone_means_for_good() -> None:
    """410 is how a receiver asks for no more."""

    async def body(_: Receiver, url: str) -> None:
        with pytest.raises(NotDelivered) as caught:
            await send(url)
        assert caught.value.for_good

    with_receiver([410], body)


def test_nobody_there_and_nobody_in_time_are_failures() -> None:
    """A refused connection, a server without TLS where TLS is due, and an answer that does not come."""

    async def main() -> None:
        waiting = asyncio.Event()

        async def silent(_: web.Request) -> web.Response:
            await waiting.wait()
            return web.Response()

        application = web.Application()
        application.router.add_post("/", silent)
        async with TestServer(application) as server:
            url = str(server.make_url("/"))
            with pytest.raises(NotDelivered, match="cannot be reached"):
                await send(url, alert_webhook_timeout_s=0.05)
            waiting.set()
            with pytest.raises(NotDelivered, match="cannot be reached"):
                await send(url.replace("http://", "https://"))
        with pytest.raises(NotDelivered, match="cannot be reached"):
            await send(url)

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    ["https://example.org/x", "http://localhost:1/x", "http://127.0.0.1/x", "http://[::1]:80/x", "HTTPS://example.org"],
)
def test_safe_urls_are_taken(url: str) -> None:
    """TLS to anywhere, plain text to this machine."""
    assert check_webhooks(settings(url)) == base64.b64decode(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize(
    "url", ["http://example.org/token", "ftp://example.org", "example.org/token", "https://", "http://[::"]
)
def test_unsafe_urls_are_refused_without_being_shown(url: str) -> None:
    """Which one it is is said by its number: a URL may hold a token."""
    with pytest.raises(ConfigInvalid, match="URL 2 in POLYVOX_ALERT_WEBHOOKS") as caught:
        check_webhooks(settings(f"https://example.org,{url}"))
    assert "token" not in str(caught.value)


def test_plain_text_can_be_allowed() -> None:
    """On a network that is trusted."""
    assert check_webhooks(settings("http://receiver.internal/x", alert_webhook_plain_http=True))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_" + base64.b64encode(b"x" * 23).decode(), "ü"])
def test_a_weak_secret_is_refused(secret: str) -> None:
    """Shorter than the standard's 24 bytes, or no base64; the message says how to make one."""
    with pytest.raises(ConfigInvalid, match="whsec_"):
        read_secret(secret)


def test_webhooks_need_a_secret_and_keep_it() -> None:
    """Without one nothing is sent unsigned; neither URL nor secret is printed with the settings."""
    with pytest.raises(ConfigInvalid, match="POLYVOX_ALERT_WEBHOOK_SECRET"):
        load_settings(alert_webhooks="https://example.org/token")
    shown = repr(settings("https://example.org/s3cret"))
    assert "s3cret" not in shown
    assert SECRET not in shown


def test_channels_tell_receivers_apart_without_naming_them() -> None:
    """The same URL is the same channel, in every run."""
    one, other = channel_of("https://example.org/token1"), channel_of("https://example.org/token2")
    assert one == channel_of("https://example.org/token1") != other
    assert "example" not in one
    assert "/" not in one
