"""What the model sees of a post, and that every span of it is found again in the original."""

import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text import normalise as module
from worker.text.normalise import normalise

NOISE = [
    "@AppleSupport",
    "https://t.co/abc",
    "www.example.org/a?b=c",
    "  ",
    "\n\t",
    "\u200b",
    "\ufeff ",
    "＠nhk",
    "\u3000",
]
DECOMPOSED = ["e\u0301", "\u1112\u1161\u11ab", "\u0915\u093c", "A\u030a"]
WORDS = [
    "Boeing",
    "上海",
    "Grönemeyer",
    "東京電力",
    "टाटा",
    "أرامكو",
    "#tag",
    "$AAPL",
    "🙂\u200d↔️",
    "می\u200cخواهم",
    "&amp;",
    "!",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@AppleSupport my phone", "@user my phone"),
        ("＠nhk_newsさん、見て", "@userさん、見て"),
        ("见@张三 非常好", "见@user 非常好"),
        ("thanks @José!", "thanks @user!"),
        ("hi @bob@mastodon.social", "hi @user"),
        ("@한국abc @日本https://t.co/a @日本@x.com", "@user abc @user http @user @user.com"),
        ("RT @a: @b_1 ok", "RT @user: @user ok"),
        ("write to a.b+c@example.com or café@b.com", "write to a.b+c@example.com or café@b.com"),
        ("5 @ 3 dollars", "5 @ 3 dollars"),
        ("see HTTPS://t.co/a?b=1.", "see http."),
        ("(https://a.org/x) www.b.com", "(http) http"),
        ("看https://t.co/abc非常好", "看http非常好"),
        ("$AAPL #Börse &amp; R&D", "$AAPL #Börse &amp; R&D"),
        ("  a \r\n\t b\x00c\u3000d  ", "a b c d"),
        ("\ufeffa\u200bb\u200fc", "abc"),
        ("می\u200cخواهم क्\u200dष 👨\u200d👩", "می\u200cخواهم क्\u200dष 👨\u200d👩"),
        ("Cafe\u0301", "Café"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"),
        ("\ud800 x", "\ud800 x"),
        ("", ""),
        (" \u200b\n", ""),
    ],
)
def test_the_model_sees(text: str, expected: str) -> None:
    """Mentions, links and white space are masked, all that carries meaning stays as written."""
    assert normalise(text).text == expected


def test_replaced_stretches_count_whole() -> None:
    """A span that touches a mask or a composed letter gives the whole of what it stands for."""
    original = "\u200b @AppleSupport  cafe\u0301 is https://t.co/x, ok "
    found = normalise(original)
    assert found.text == "@user café is http, ok"
    for part, source in [
        ("@us", "@AppleSupport"),
        ("er", "@AppleSupport"),
        ("café", "cafe\u0301"),
        ("é", "e\u0301"),
        ("f", "f"),
        ("ttp", "https://t.co/x"),
        ("ok", "ok"),
        ("user caf", "@AppleSupport  caf"),
    ]:
        start = found.text.index(part)
        begin, end = found.to_original(start, start + len(part))
        assert original[begin:end] == source


@given(st.lists(st.tuples(st.sampled_from(NOISE + DECOMPOSED), st.sampled_from(WORDS))))
def test_words_are_found_again(pieces: list[tuple[str, str]]) -> None:
    """A stretch in which nothing was replaced maps back to exactly itself, at its own place."""
    original, places = "", []
    for noise, word in pieces:
        original += f"{noise} "
        places.append((len(original), word))
        original += f"{word} "
    found, at = normalise(original), 0
    for place, word in places:
        at = found.text.index(word, at)
        assert found.to_original(at, at + len(word)) == (place, place + len(word))
        at += len(word)


def texts() -> st.SearchStrategy[str]:
    """Arbitrary text, lone surrogates included, dense in what the steps look for."""
    any_char = st.characters(codec=None)
    return st.lists(
        st.one_of(st.sampled_from(NOISE + DECOMPOSED + WORDS + list("@.: wé한\u0301\u0323\u1161")), any_char)
    ).map("".join)


@given(texts())
def test_normal_form(text: str) -> None:
    """The result is NFC, stripped, free of double spaces, and normalising it again changes nothing."""
    result = normalise(text).text
    assert unicodedata.is_normalized("NFC", result)
    assert result == result.strip()
    assert "  " not in result
    assert normalise(result).text == result


@given(texts(), st.data())
def test_spans_are_ordered_and_within(text: str, data: st.DataObject) -> None:
    """Spans stay within the original, grow with the span that was asked for, and hold what they stand for."""
    found = normalise(text)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(found.text))] * 2)))
    begin, stop = found.to_original(start, end)
    assert 0 <= begin <= stop <= len(text)
    last = 0
    for at in range(start, end):
        low, high = found.to_original(at, at + 1)
        assert begin <= low < high <= stop
        assert last <= low
        last = low
        char, source = found.text[at], text[low:high]
        assert char in (source, " ") or char in normalise(source).text


@given(st.text(alphabet="ab é中👍", min_size=1).filter(lambda text: text == " ".join(text.split())))
def test_plain_text_keeps_no_map(text: str) -> None:
    """Text that needs nothing is returned as the same object."""
    assert normalise(text).text is text


@pytest.mark.parametrize("span", [(-1, 1), (0, 4), (2, 1)])
def test_a_span_outside_is_refused(span: tuple[int, int]) -> None:
    """A span that the text does not have is a mistake of the caller, not an answer."""
    with pytest.raises(ValueError, match="not within a text of 3"):
        normalise("abc").to_original(*span)


@pytest.mark.parametrize(
    "unit",
    [
        "@",
        "@a",
        "@a@",
        "http://",
        "http://.",
        "www.",
        "www.!",
        " \n",
        "\u0301\u0316",
        "e\u0301",
        "\u1161",
        "-",
        "中",
        "\ud800",
        "@a.b-",
    ],
)
def test_a_megabyte_of_anything_ends(unit: str) -> None:
    """A long run of whatever the patterns look for is handled in linear time."""
    text = unit * (1_000_000 // len(unit))
    found = normalise(text)
    assert found.to_original(0, len(found.text))[1] <= len(text)


def joining_starters() -> Iterator[str]:
    """Characters of combining class 0 that NFC may join to the one before, from the running Unicode tables."""
    found = ((chr(code), unicodedata.decomposition(chr(code))) for code in range(sys.maxunicode + 1))
    canonical = {char: parts.split() for char, parts in found if parts and parts[0] != "<"}
    seconds = {chr(int(part[1], 16)) for part in canonical.values() if len(part) == 2}
    seconds |= {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for char in canonical.keys() | seconds:
        first = unicodedata.normalize("NFD", char)[0]
        if unicodedata.combining(char) == 0 and (unicodedata.combining(first) or first in seconds):
            yield char


def test_the_table_of_joining_characters_is_complete() -> None:
    """Composing cluster by cluster is composing the whole only if no cluster begins with a joining character."""
    assert set(joining_starters()) <= module._JOINING_STARTERS
