"""Stories for analysed posts, however long Redis is away: no post is published without its decision."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from worker.errors import StoreUnavailable
from worker.events import Story
from worker.opinion.stories import Candidate, StoryIndex
from worker.telemetry import RETRIES, STAGE_SECONDS, STORIES, Log, get_logger
from worker.timing import Backoff


class Storyteller:
    """Asks the index, and asks again; the same event gets the same answer.

    Args:
        index: decides.
        outage: whether the index is away.
    """

    def __init__(self, index: StoryIndex) -> None:
        self._index = index
        self.outage = False

    async def stories(self, posts: Sequence[Candidate]) -> list[Story]:
        """The story of each post, by one round trip.

        Raises:
            ConfigInvalid: waiting does not help.
        """
        backoff = Backoff()
        while True:
            try:
                with STAGE_SECONDS.labels(stage="stories").time():
                    decisions = await self._index.decide(posts)
                break
            except StoreUnavailable as error:
                if not self.outage:
                    get_logger().warning(Log.STORE_OUTAGE, error=str(error))
                self.outage = True
                RETRIES.labels(target="redis").inc()
                await asyncio.sleep(backoff.next_s())
        self.outage = False
        for kind, count in Counter(decision.kind for decision in decisions).items():
            STORIES.labels(kind=kind).inc(count)
        return [Story(decision.story_id, decision.kind == "copy") for decision in decisions]
