"""Mentions get their canonical ids, and only where a fitting mention or a cashtag says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.entities.link import Linker, with_ids
from worker.entities.table import load_aliases
from worker.events import Analysis, Entity, EntityType, ModelRef, Probabilities, Sentiment, Topic

LINKER = Linker(load_aliases())
APPLE, TESLA, CHINA = "cik:0000320193", "cik:0001318605", "iso3166:CN"


def mention(text: str, name: str, kind: EntityType = "ORG", sentiment: Probabilities | None = None) -> Entity:
    """The first occurrence of a name as the tagger would report it."""
    start = text.index(name)
    return Entity(type=kind, text=name, start=start, end=start + len(name), confidence=0.9, sentiment=sentiment)


def ids(text: str, *mentions: Entity, language: str = "en") -> list[str | None]:
    return [entity.id for entity in LINKER.link(text, mentions, language)]


@pytest.mark.parametrize(
    "name", ["Apple", "apple", "Apple Inc.", "Apple's", "苹果公司", "蘋果", "アップル", "애플", "أبل"]
)
def test_one_company_is_one_series_in_every_script(name: str) -> None:
    """Whatever script and suffix, the mention is of the same id."""
    assert ids(name, mention(name, name)) == [APPLE]


@pytest.mark.parametrize(
    ("text", "name"),
    [("I ate an apple.", ""), ("We hit the target", ""), ("orange juice", ""), ("my visa is late", "")],
)
def test_a_word_without_a_mention_is_no_entity(text: str, name: str) -> None:
    """The table never decides alone that a word is a name."""
    assert ids(text) == []


def test_people_are_nobodys_alias() -> None:
    """A person of a city's or a country's name is not the place."""
    assert ids("Jordan scored", mention("Jordan scored", "Jordan", "PER")) == [None]
    assert ids("Jordan borders", mention("Jordan borders", "Jordan", "LOC")) == ["iso3166:JO"]


def test_the_type_of_a_mention_chooses_between_kinds() -> None:
    """Orange is a company and a city: an ORG is the company, a LOC the city; an ORG of a mere city is its club."""
    text = "Orange"
    company, city = ids(text, mention(text, text)), ids(text, mention(text, text, "LOC"))
    assert company == ["cik:0001038143"]
    assert city == ["geonames:5379513"]
    assert ids("Dundee", mention("Dundee", "Dundee")) == [None]


def test_a_name_inside_another_name_is_not_meant() -> None:
    """A longer mention that is not in the table is not of its parts."""
    for name in ("New York Giants Fan Club", "University of Paris", "Apple Daily", "Amazonas"):
        assert ids(name, mention(name, name)) == [None]


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("삼성전자가", "ko", "org:samsung-electronics"),
        ("Ankara'nın", "tr", "geonames:323786"),
        ("İstanbul'da", "tr", "geonames:745044"),
        ("للصين", "ar", CHINA),
        ("بالصين", "ar", CHINA),
        ("Германией", "ru", "iso3166:DE"),
        ("Москве", "ru", "geonames:524901"),
        ("Berliinissä", "fi", "geonames:2950159"),
        ("Deutschlands", "de", "iso3166:DE"),
    ],
)
def test_names_are_found_under_what_they_wear(name: str, language: str, expected: str) -> None:
    """Particles, clitics, cases and apostrophes belong to the sentence, not to the name."""
    assert ids(name, mention(name, name, "LOC"), language=language) == [expected]


def test_a_cashtag_needs_no_tagger() -> None:
    """It is an entity by itself, of type ORG, at its own place; a price is none."""
    text = "Bought $AAPL and ＄tsla at $100, not $ZZZZZ"
    found = LINKER.link(text, [], "en")
    assert [(entity.text, entity.id, entity.type) for entity in found] == [
        ("$AAPL", APPLE, "ORG"),
        ("＄tsla", TESLA, "ORG"),
    ]
    assert all(text[entity.start : entity.end] == entity.text for entity in found)


def test_a_cashtag_takes_the_place_of_the_mention_around_it() -> None:
    """One mention, not two, and with the sentiment that the model gave it."""
    said = Probabilities(0.1, 0.1, 0.8)
    text = "Long $AAPL!"
    [entity] = LINKER.link(text, [mention(text, "AAPL", sentiment=said)], "en")
    assert (entity.id, entity.sentiment, entity.text) == (APPLE, said, "$AAPL")


def test_short_tickers_are_cashtags_only() -> None:
    """`T` and `NHS` are too many things; four capital letters in a mention are a ticker."""
    assert ids("NHS", mention("NHS", "NHS")) == [None]
    assert ids("V", mention("V", "V")) == [None]
    assert ids("$V") == ["cik:0001403161"]
    assert ids("AAPL", mention("AAPL", "AAPL")) == [APPLE]
    assert ids("aapl", mention("aapl", "aapl")) == [None]


def test_both_sides_of_a_currency_pair() -> None:
    """`EUR/USD` names two currencies; other capitals around a stroke name none."""
    assert ids("EUR/USD fell") == ["iso4217:EUR", "iso4217:USD"]
    assert ids("AND/ORR, USD/ABC") == []


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The dollar slipped", "en", ["iso4217:USD"]),
        ("The Canadian dollar slipped", "en", ["iso4217:CAD"]),
        ("Dolar Singapura menguat", "id", ["iso4217:SGD"]),
        ("Доллар против евро", "ru", ["iso4217:USD", "iso4217:EUR"]),
        ("ドル安が続く", "ja", ["iso4217:USD"]),
        ("원/달러 환율", "ko", ["iso4217:USD"]),
        ("تراجع الدولار", "ar", ["iso4217:USD"]),
        ("It cost 5 dollars, then two million euros, then $100", "en", []),
        ("5 тысяч рублей, 100ドル, 3,6 miliardi di dollari", "ru", []),
        ("アイドルとドルトムント", "ja", []),
        ("자유로운 하루", "ko", []),
        ("We won the race, a real pound of gold", "en", []),
    ],
)
def test_currencies_are_found_where_they_are_talked_about(text: str, language: str, expected: list[str]) -> None:
    """Names that mean nothing else need no tagger; sums of money, parts of words and ambiguous names are none."""
    assert ids(text, language=language) == expected


def test_a_currency_inside_a_longer_name_is_part_of_it() -> None:
    """Dollar General is a shop; a country that the tagger sees in `US dollar` gives way to the currency."""
    shop = "Dollar General grew"
    assert ids(shop, mention(shop, "Dollar General")) == ["cik:0000029534"]
    money = "the US dollar grew"
    assert ids(money, mention(money, "US", "LOC")) == ["iso4217:USD"]


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("腾讯收购", "腾", "org:tencent"),
        ("SK하이닉스를 샀다", "SK하이닉", "org:sk-hynix"),
        ("Goldman Sachsen", "Goldman Sach", None),
    ],
)
def test_a_mention_that_was_cut_short_is_completed(text: str, cut: str, expected: str | None) -> None:
    """A form around a mention counts if the mention is half of it and words end where it does."""
    assert ids(text, mention(text, cut)) == [expected]


def test_the_longest_name_is_meant() -> None:
    """Orion Group is not Orion; but a mention of America in Bank of America is of America."""
    names = ("Orion", "Orion Group")
    assert len({entity for name in names for entity in ids(name, mention(name, name))}) == 2
    assert ids("Bank of America", mention("Bank of America", "America", "LOC")) == ["iso3166:US"]


def test_the_largest_place_of_a_name_is_meant() -> None:
    """Paris is in France, and Georgia a country."""
    assert ids("Paris", mention("Paris", "Paris", "LOC")) == ["geonames:2988507"]
    assert ids("Georgia", mention("Georgia", "Georgia", "LOC")) == ["iso3166:GE"]


@given(st.text(max_size=80), st.data())
def test_linking_keeps_every_mention(text: str, data: st.DataObject) -> None:
    """Mentions keep place, text and sentiment; what is added is a symbol with an id; all in order."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    mentions = [
        Entity(type="ORG", text=text[start:end], start=start, end=end, confidence=0.5)
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    linked = LINKER.link(text, mentions, "en")
    assert [entity.start for entity in linked] == sorted(entity.start for entity in linked)
    assert all(text[entity.start : entity.end] == entity.text for entity in linked)
    spans = {(entity.start, entity.end) for entity in linked}
    for each in mentions:
        symbols = [one for one in linked if one.start < each.end and each.start < one.end and one.id is not None]
        assert (each.start, each.end) in spans or symbols


def test_an_analysis_keeps_all_but_its_entities() -> None:
    """The linker adds ids to what the model said and changes none of it."""
    thirds = Probabilities(0.2, 0.2, 0.6)
    before = Analysis(
        language="en",
        language_confidence=0.9,
        sentiment=Sentiment(label="positive", confidence=0.6, probabilities=thirds),
        topic=Topic(label="t", name="t", confidence=1.0, probabilities={"t": 1.0}),
        entities=[mention("Apple rose", "Apple", sentiment=thirds)],
        model=ModelRef("analyzer", "1"),
    )
    after = with_ids(LINKER, "Apple rose", before)
    assert after.entities[0].id == APPLE
    assert (after.sentiment, after.topic, after.entities[0].sentiment) == (before.sentiment, before.topic, thirds)
