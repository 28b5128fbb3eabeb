"""The alert store in Redis; every write is one script, and every key has the hash tag `{alerts}`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from worker.alert_event import Alert, decode_alert, encode_alert
from worker.alerts.store import UNDELIVERED_KEPT, Delivery, Progress, Settled, Stored, Undelivered
from worker.opinion.client import Link, Script
from worker.settings import Settings
from worker.timing import Clock, SystemClock

PREFIX = "polyvox:{alerts}"
_HERE = Path(__file__).parent


def _script(*names: str) -> Script:
    return Script("".join((_HERE / f"{name}.lua").read_text(encoding="utf-8") for name in names))


LEAD = _script("lead")
SETTLE = _script("fenced", "settle")
DELIVER = _script("fenced", "deliver")
RESEND = _script("resend")


class RedisAlertStore:
    """See `AlertStore`.

    Args:
        link: the connection; closed with the store.
        settings: how many alerts are kept.
        clock: when something is due.
    """

    def __init__(self, link: Link, settings: Settings, clock: Clock | None = None) -> None:
        self._link = link
        self._kept = settings.alert_history
        self._clock = clock or SystemClock()

    @classmethod
    def of(cls, settings: Settings) -> RedisAlertStore:
        """The store that is configured; connects at its first use."""
        return cls(Link.of(settings), settings)

    async def lead(self, token: str, lease_s: float) -> bool:
        [answer] = await self._link.run(LEAD, PREFIX, token, str(round(lease_s * 1000)), doing="taking the lease")
        return bool(answer == "leads")

    async def release(self, token: str) -> None:
        await self._link.run(LEAD, PREFIX, token, "0", doing="giving back the lease")

    async def progress(self, epoch: str) -> Progress:
        async with self._link.use("reading detectors") as client, client.pipeline(transaction=True) as pipe:
            pipe.hgetall(f"{PREFIX}:progress")
            pipe.hgetall(f"{PREFIX}:detectors")
            stored, detectors = await pipe.execute()
        return Progress(int(stored["next_s"]), detectors) if stored.get("epoch") == epoch else Progress(None, {})

    async def settle(self, token: str, settled: Settled) -> tuple[Stored, list[str]]:
        expected = "" if settled.expected_s is None else str(settled.expected_s)
        now_ms = str(self._clock.unix_ms())
        arguments: list[str | bytes] = [token, settled.epoch, expected, str(settled.next_s), str(self._kept), now_ms]
        arguments.append(str(len(settled.detectors)))
        for name, state in settled.detectors.items():
            arguments += [name, state]
        for alert in settled.alerts:
            arguments += [alert.alert_id, str(round(alert.window_end.timestamp() * 1000)), encode_alert(alert)]
        answer, *new = await self._link.run(SETTLE, PREFIX, *arguments, doing="storing a settled window")
        return answer, new

    async def due(self, limit: int) -> list[Delivery]:
        async with self._link.use("reading the outbox") as client:
            found = await client.zrangebyscore(f"{PREFIX}:due", "-inf", self._clock.unix_ms(), start=0, num=limit)
            names = [str(name) for name in found]
            if not names:
                return []
            places = [name.rpartition("/") for name in names]
            values = await client.hmget(f"{PREFIX}:alerts", [alert_id for _, _, alert_id in places])
            attempts = await client.hmget(f"{PREFIX}:attempts", names)
        return [
            Delivery(channel, decode_alert(value), int(failed or 0))
            for (channel, _, _), value, failed in zip(places, values, attempts, strict=True)
            if value is not None
        ]

    async def sent(self, token: str, delivery: Delivery, then: Sequence[str] = (), publish_on: str = "") -> bool:
        return await self._deliver(token, delivery, "sent", publish_on, str(self._clock.unix_ms()), *then)

    async def failed(self, token: str, delivery: Delivery, again_in_s: float) -> bool:
        again_ms = self._clock.unix_ms() + round(again_in_s * 1000)
        return await self._deliver(token, delivery, "failed", str(again_ms))

    async def give_up(self, token: str, delivery: Delivery, error: str) -> bool:
        entry = Undelivered(
            alert_id=delivery.alert.alert_id,
            channel=delivery.channel,
            attempts=delivery.attempts + 1,
            given_up_ms=self._clock.unix_ms(),
            error=error,
        )
        value = msgspec.json.encode(entry).decode()
        return await self._deliver(token, delivery, "given_up", value, str(UNDELIVERED_KEPT))

    async def _deliver(self, token: str, delivery: Delivery, *arguments: str) -> bool:
        [answer] = await self._link.run(DELIVER, PREFIX, token, delivery.name, *arguments, doing="noting a delivery")
        return bool(answer == "noted")

    async def history(self, newest: int) -> list[Alert]:
        async with self._link.use("reading the history of alerts") as client:
            ids = [str(each) for each in await client.zrevrange(f"{PREFIX}:by_time", 0, newest - 1)]
            values = await client.hmget(f"{PREFIX}:alerts", ids) if ids else []
        return [decode_alert(value) for value in values if value is not None]

    async def undelivered(self) -> list[Undelivered]:
        async with self._link.use("reading undelivered alerts") as client:
            found = await client.lrange(f"{PREFIX}:undelivered", 0, -1)
        return [msgspec.json.decode(entry, type=Undelivered) for entry in found]

    async def resend(self, alert_id: str) -> int:
        [count] = await self._link.run(RESEND, PREFIX, alert_id, str(self._clock.unix_ms()), doing="resending an alert")
        return int(count)

    async def aclose(self) -> None:
        await self._link.aclose()
