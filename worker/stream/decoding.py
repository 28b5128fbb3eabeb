"""From the model's answers to analysed posts, and with their stories to outcomes: pure, for a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.analysis.bundle import Bundle
from worker.analysis.decode import decode_many
from worker.analysis.inference import Logits
from worker.analysis.prepare import Prepared
from worker.events import Story
from worker.opinion.stories import Candidate
from worker.stream.outcomes import Draft, Outcomes
from worker.stream.work import Analysed, Complete, Work
from worker.text.near_duplicates import fingerprint


@dataclass(frozen=True)
class Decoding:
    """Reads what the model answered.

    Args:
        abstain_below: sentiment under this confidence counts as abstained.
    """

    outcomes: Outcomes
    bundle: Bundle
    abstain_below: float

    def analysed(self, complete: Sequence[Complete]) -> list[Analysed]:
        """The records with an analysis; one that the model refused gets its dead letter here.

        Raises:
            RuntimeError: a window without an answer.
        """
        answered: list[tuple[Work, tuple[Prepared, list[Logits]]]] = []
        for work, bad in complete:
            if bad is not None:
                work.slot.outcome = self.outcomes.dead(work.draft, bad)
                continue
            answers = [answer for answer in work.answers if answer is not None]
            if work.prepared is None or len(answers) != len(work.answers):
                raise RuntimeError("a window without an answer")  # never publish a label made of a part
            answered.append((work, (work.prepared, answers)))
        analyses = decode_many([text for _, text in answered], self.bundle, self.abstain_below)
        return [
            Analysed(work, analysis, _candidate(work.draft))
            for (work, _), analysis in zip(answered, analyses, strict=True)
        ]

    def finish(self, analysed: Sequence[Analysed], stories: Sequence[Story], now_ms: int) -> None:
        """Set the outcomes."""
        for each, story in zip(analysed, stories, strict=True):
            each.work.slot.outcome = self.outcomes.enriched(each.work.draft, each.analysis, story, now_ms)


def _candidate(draft: Draft) -> Candidate:
    """What the story of a post is decided by; ids of different sources may be equal by chance."""
    if draft.post is None:
        raise RuntimeError("a draft without its post has no story")
    bands, needed = fingerprint(draft.text)
    return Candidate(draft.placed.origin.event_id, f"{draft.post.source}\x1f{draft.post.id}", bands, needed)
