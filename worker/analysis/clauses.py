"""The clause around a mention: what is said of it rather than of another name in the same post.

No parser covers the languages served, so clauses end where writing shows it: at punctuation, and before a word that
sets two statements against each other.
"""

from __future__ import annotations

import re
from bisect import bisect_right

# "1,000", "3:1" and "U.S." go on: a mark counts when a space or the end follows. Marks of unspaced scripts always do.
_MARKS = r"[,;:.!?،؛؟۔।](?=\s|$)|[，、；：。！？]|\s[–—-]\s|[()\n\[\]…]"

# Conjunctions and adverbs of contrast, and of two things at once, by language.
_SPACED = """
but while whereas however although though yet meanwhile | aber während dagegen hingegen jedoch doch obwohl wogegen
| mais tandis alors cependant toutefois pourtant | pero mientras aunque embargo | mas porém enquanto embora todavia
| ma mentre però invece tuttavia | но а однако зато хотя тогда | لكن ولكن بينما فيما | लेकिन जबकि परंतु मगर किंतु
| ama fakat ancak oysa ise | tetapi namun sedangkan tapi sementara | maar terwijl echter hoewel | ale natomiast jednak
podczas | men medan däremot | mens dog mutta kun taas | de míg viszont azonban | zatímco však | dar însă iar
| але однак тоді | αλλά ενώ όμως | אבל בעוד אך ואילו | nhưng còn trong | ali dok | lekin magar par jabki
"""
_UNSPACED = "但是|不过|而|却|一方で|一方|反面|けれど|しかし|แต่|ในขณะที่|ส่วน"
_KOREAN = r"(?<=지만)\s|(?<=으나)\s|(?<=는데)\s|(?<=반면)\s"

_WORDS = "|".join(sorted(set(_SPACED.replace("|", " ").split()), key=len, reverse=True))
_BORDER = re.compile(rf"{_MARKS}|{_KOREAN}|(?=\b(?:{_WORDS})\b)|(?={_UNSPACED})", re.IGNORECASE)
_LETTER = re.compile(r"\w")


class Clauses:
    """Where the clauses of a text begin and end."""

    def __init__(self, text: str) -> None:
        self._text = text
        inner = {found.end() for found in _BORDER.finditer(text)} - {0, len(text)}
        self._borders = [0, *sorted(inner), len(text)]

    def around(self, start: int, end: int) -> tuple[int, int]:
        """The clause or clauses that hold the characters [start, end); `end` exclusive.

        A clause that says nothing beside the mention ("Boeing, too, fell") takes in the next one that does, or, at the
        end of a text, the one before.
        """
        first = bisect_right(self._borders, start) - 1
        last = bisect_right(self._borders, max(start, end - 1))
        while last < len(self._borders) - 1 and not self._says(first, last, start, end):
            last += 1
        while first > 0 and not self._says(first, last, start, end):
            first -= 1
        return self._borders[first], self._borders[last]

    def _says(self, first: int, last: int, start: int, end: int) -> bool:
        """Whether there are letters in the clauses beside the mention."""
        rest = self._text[self._borders[first] : start] + " " + self._text[end : self._borders[last]]
        return _LETTER.search(rest) is not None
