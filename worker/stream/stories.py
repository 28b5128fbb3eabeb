"""Stories for analysed posts, however long Redis is away: no post is published without its decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from worker.events import Story
from worker.opinion.stories import Candidate, StoryIndex
from worker.stream.patience import Patience
from worker.telemetry import STORIES


class Storyteller:
    """Asks the index, and asks again; the same event gets the same answer.

    Args:
        index: decides.
    """

    def __init__(self, index: StoryIndex) -> None:
        self._index = index
        self._patience = Patience("stories")

    @property
    def outage(self) -> bool:
        """Whether the index is known to be away."""
        return self._patience.outage

    async def stories(self, posts: Sequence[Candidate]) -> list[Story]:
        """The story of each post, by one round trip.

        Raises:
            ConfigInvalid: waiting does not help.
        """
        decisions = await self._patience.until_answered(lambda: self._index.decide(posts))
        for kind, count in Counter(decision.kind for decision in decisions).items():
            STORIES.labels(kind=kind).inc(count)
        return [Story(decision.story_id, decision.kind == "copy") for decision in decisions]
