"""Refuses an input topic that was deleted and made again: positions and counters are those of the old one.

Reading on would skip what the new topic holds before the old position, and name what it holds after it by the old
topic's id. A client does not see the difference (aiokafka asks for names), so ids are compared: at the start with those
that Redis keeps, and while the worker runs every few seconds with those of the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from worker.errors import Permanent, PositionLost, Transient
from worker.opinion.client import Link
from worker.opinion.known_topics import accept_ids, first_ids
from worker.settings import Settings
from worker.telemetry import Log, get_logger

LOOK_S = 5.0

Ids = Mapping[str, str]
"""Input topic to its id."""


async def check_start_ids(link: Link, settings: Settings, ids: Ids) -> None:
    """Compare the ids at the start with those of the first start.

    Raises:
        PositionLost: a topic is another one, and the settings do not accept it.
        StoreUnavailable: Redis does not answer.
    """
    known = await first_ids(link, ids)
    if settings.recreated_topics == "accept" and known != dict(ids):
        get_logger().warning(Log.TOPICS_ACCEPTED, topics=_changed(known, ids))
        await accept_ids(link, ids)
        return
    refuse_recreated(known, ids)


def refuse_recreated(known: Ids, found: Ids) -> None:
    """Refuse topics whose id is another than is known.

    Raises:
        PositionLost: names them, and says how to go on.
    """
    changed = _changed(known, found)
    if changed:
        raise PositionLost(
            f"input topic {', '.join(changed)} was deleted and made again: it has another id than the one that was "
            "read, whose positions and counters say nothing of it; to read the new one from its beginning, set the "
            "group's offsets to the earliest (kafka-consumer-groups.sh --reset-offsets), and start once with "
            "POLYVOX_RECREATED_TOPICS=accept"
        )


async def watch_ids(known: Ids, look_up: Callable[[], Awaitable[Ids]], every_s: float = LOOK_S) -> None:
    """Look every `every_s` until a topic is another one; what cannot be seen, or is not there, is no reason to end.

    Raises:
        PositionLost: as `refuse_recreated`.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            found = await look_up()
        except (Transient, Permanent) as error:
            log = get_logger().info if isinstance(error, Transient) else get_logger().warning
            log(Log.TOPICS_UNSEEN, error=str(error))
            continue
        refuse_recreated(known, found)


def _changed(known: Ids, found: Ids) -> list[str]:
    return sorted(topic for topic, topic_id in found.items() if known.get(topic, topic_id) != topic_id)
