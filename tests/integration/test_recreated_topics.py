"""The ids of input topics at a start, over a real Redis: the first ones are kept until others are accepted."""

from __future__ import annotations

import asyncio

import pytest

from worker.errors import PositionLost
from worker.opinion.client import Link
from worker.settings import load_settings
from worker.stream.recreated import check_start_ids

pytestmark = pytest.mark.integration

OLD = {"posts.social": "one", "posts.financial": "two"}
NEW = OLD | {"posts.social": "three"}


def test_other_ids_are_refused_until_they_are_accepted(redis_url: str) -> None:
    """Each start compares with the first one; once a start has accepted, with that; topics may be added."""
    refuse, accept = load_settings(), load_settings(recreated_topics="accept")

    async def main() -> None:
        link = Link(redis_url, 5.0)
        try:
            await check_start_ids(link, refuse, OLD)
            await check_start_ids(link, refuse, OLD | {"posts.more": "four"})
            with pytest.raises(PositionLost, match=r"posts\.social"):
                await check_start_ids(link, refuse, NEW)
            with pytest.raises(PositionLost, match=r"posts\.social"):
                await check_start_ids(link, refuse, NEW)
            await check_start_ids(link, accept, NEW)
            await check_start_ids(link, refuse, NEW)
            with pytest.raises(PositionLost, match=r"posts\.social"):
                await check_start_ids(link, refuse, OLD)
        finally:
            await link.aclose()

    asyncio.run(main())
