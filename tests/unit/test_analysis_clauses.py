"""Clauses: what is said of a mention, by the marks and words that part statements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.analysis.clauses import Clauses

CASES = [
    ("Apple soared, while Boeing plunged.", "Apple", "Apple soared,"),
    ("Apple soared, while Boeing plunged.", "Boeing", "while Boeing plunged."),
    ("Nokia gained 1,000 points but Ericsson fell", "Nokia", "Nokia gained 1,000 points "),
    ("Toyota steigert den Gewinn, Volkswagen dagegen verliert.", "Toyota", "Toyota steigert den Gewinn,"),
    ("Renault progresse mais Stellantis recule", "Stellantis", "mais Stellantis recule"),
    ("丰田公布创纪录的利润，而日产则出现亏损。", "日产", "而日产则出现亏损。"),
    ("トヨタは最高益となったが、日産は赤字に転落した。", "トヨタ", "トヨタは最高益となったが、"),
    ("삼성은 이익이 늘었지만 LG는 손실을 냈다.", "삼성", "삼성은 이익이 늘었지만 "),
    ("Сбербанк вырос, а Газпром упал", "Газпром", "а Газпром упал"),
    ("ارتفعت أرامكو، بينما تراجعت سابك", "سابك", "بينما تراجعت سابك"),
    ("TCS बढ़ा लेकिन Wipro गिरा", "TCS", "TCS बढ़ा "),
    ("Apple, Boeing and Tesla rose", "Apple", "Apple, Boeing and Tesla rose"),
    ("A good year. Boeing!", "Boeing", "A good year. Boeing!"),
    ("Boeing", "Boeing", "Boeing"),
]


@pytest.mark.parametrize(("text", "mention", "clause"), CASES)
def test_the_clause_around_a_mention(text: str, mention: str, clause: str) -> None:
    """It ends at punctuation and before contrast, not inside numbers, and says something beside the mention."""
    start = text.index(mention)
    begin, end = Clauses(text).around(start, start + len(mention))
    assert text[begin:end].strip() == clause.strip()


@given(st.text(min_size=1), st.data())
def test_a_clause_holds_its_mention(text: str, data: st.DataObject) -> None:
    """Whatever the text: the clause is a stretch of it around the mention."""
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    begin, stop = Clauses(text).around(start, end)
    assert 0 <= begin <= start < end <= stop <= len(text)
