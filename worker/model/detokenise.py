"""Join tokenised words as people write them, remembering where each word went.

Sources store "Hello , world ." while posts hold "Hello, world.": a model that saw only the first is weaker there.
"""

NO_SPACE_BEFORE = frozenset(",.!?;:…%)]}»”’、。，！？；：）】》")
NO_SPACE_AFTER = frozenset("([{«“‘¿¡（【《#$€£")
QUOTES = frozenset({'"', "''", "``"})


def join_words(words: list[str], spaced: bool) -> tuple[str, list[tuple[int, int]]]:
    """(text, place of each word). spaced: whether the language writes spaces between words."""
    text, places = "", []
    open_quote = glue_next = False
    for index, word in enumerate(words):
        closing = word in QUOTES and open_quote
        glued = glue_next or closing or _attaches_left(word)
        if index and not glued and (spaced or _both_latin(text[-1:], word[:1])):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
        glue_next = (word in QUOTES and not open_quote) or word in NO_SPACE_AFTER or _attaches_right(word)
        if word in QUOTES:
            open_quote = not open_quote
    return text, places


def _attaches_left(word: str) -> bool:
    # 's, 'll, n't, Turkish 'daki; closing marks, also repeated ("!!!", "...").
    return (
        (len(word) > 1 and word[0] in "'’" and word[1].isalpha())
        or word == "n't"
        or (bool(word) and set(word) <= NO_SPACE_BEFORE)
    )


def _attaches_right(word: str) -> bool:
    # French and Italian elision: l', dell'.
    return len(word) > 1 and word[-1] in "'’" and word[-2].isalpha() and len(word) <= 6


def _both_latin(left: str, right: str) -> bool:
    return left.isascii() and right.isascii() and left.isalnum() and right.isalnum()
