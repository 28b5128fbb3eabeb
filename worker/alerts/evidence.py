"""What an alert's posts talk about: words and entities that tell after from before, and some posts to read. Pure.

Words are nowhere but in the posts, so the newest ones of `enriched` are looked at when there is an alert, which is
seldom. What an alert takes from them is counts of single words that several posts share, and ids; never a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from worker.alert_event import MAX_EXAMPLES
from worker.alerts.keys import keys_of
from worker.events import EnrichedPost
from worker.opinion.cells import Cell
from worker.opinion.increments import language_key
from worker.opinion.shifts.words import Direction, Key, Span
from worker.text.normalise import normalise, without_mentions_and_links

LONGEST_TERM = 40
UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Thai, Lao, kana and Chinese characters: written without spaces, so pairs of characters stand for words."""

JOINERS = "'’-"
"""Inside of words."""


@dataclass
class Talk:
    """Of one stretch of time: in how many posts each word, by the post's language, and each entity was found."""

    posts: int = 0
    terms: dict[str, Counter[str]] = field(default_factory=dict)
    entities: Counter[str] = field(default_factory=Counter)


@dataclass
class Findings:
    """What was found for one key; `examples` are post ids."""

    before: Talk = field(default_factory=Talk)
    after: Talk = field(default_factory=Talk)
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """Whose posts are looked for, and where they belong."""

    key: Key
    direction: Direction
    before: Span
    after: Span


def look_into(posts: Iterable[EnrichedPost], question: Question) -> Findings:
    """Count words and entities before and after, each story once, and pick the clearest posts after as examples.

    Examples are those that the model was surest of in the direction of the shift; ties by event id.
    """
    found = Findings()
    clear: list[tuple[float, str, str]] = []
    for post in posts:
        if (post.story is not None and post.story.copy) or not _belongs(post, question.key):
            continue
        at_s = post.event_time.timestamp()
        if question.after.start_s <= at_s < question.after.end_s:
            _add(found.after, post)
            probability = _in_direction(post, question.direction)
            clear.append((-probability, post.event_id, post.post.id))
        elif question.before.start_s <= at_s < question.before.end_s:
            _add(found.before, post)
    found.examples = list(dict.fromkeys(post_id for _, _, post_id in sorted(clear)))[:MAX_EXAMPLES]
    return found


def _belongs(post: EnrichedPost, key: Key) -> bool:
    if key.kind == "entity":
        return key.values[0] in {entity.id for entity in post.entities}
    return key in keys_of(Cell(post.source_class, language_key(post.language), post.topic.label, post.model.version))


def _in_direction(post: EnrichedPost, direction: Direction) -> float:
    if post.sentiment.abstained:
        return 0.0
    probabilities = post.sentiment.probabilities
    return probabilities.negative if direction == "down" else probabilities.positive


def _add(talk: Talk, post: EnrichedPost) -> None:
    talk.posts += 1
    talk.terms.setdefault(post.language, Counter()).update(set(terms_of(post.post.text)))
    talk.entities.update({entity.id for entity in post.entities if entity.id is not None})


def terms_of(text: str) -> Iterator[str]:
    """The words of a text in lower case, without numbers, links and names of accounts."""
    for word in _words(normalise(without_mentions_and_links(text)).text.lower()):
        unspaced = UNSPACED.search(word)
        if unspaced is None:
            if 1 < len(word) <= LONGEST_TERM:
                yield word
        else:
            characters = unspaced.group()
            yield from (characters[start : start + 2] for start in range(len(characters) - 1))


def _words(text: str) -> Iterator[str]:
    """Runs of letters, marks and digits with a letter in them; Python's own classes part Indic words at their marks."""
    kept = "".join(char if unicodedata.category(char)[0] in "LMN" or char in JOINERS else " " for char in text)
    for word in kept.split():
        if any(char.isalpha() for char in word):
            yield word.strip(JOINERS)
