"""Which language a post is in: sentences of all served languages, hints right and wrong, texts that say nothing."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.language import SERVED, Identifier, canonical
from worker.text.scripts import han_readings, hindi_in_latin, script_of

SENTENCES = {
    "en": "The new phone is fast, but the battery does not last a day.",
    "de": "Der Zug hatte schon wieder eine halbe Stunde Verspätung.",
    "fr": "Je suis très content de mon nouvel ordinateur portable.",
    "es": "La empresa anunció ayer que cerrará dos fábricas este año.",
    "pt": "Não gostei nada do atendimento, nunca mais volto a esta loja.",
    "it": "Il treno per Milano è partito con venti minuti di ritardo.",
    "ru": "Новый фильм мне очень понравился, советую всем посмотреть.",
    "zh": "这家公司的股价今天上涨了百分之五。",
    "zh-Hant": "這家公司的股價今天上漲了百分之五。",
    "ja": "新しい店員さんがとても親切で、また行きたいと思います。",
    "ko": "배송이 너무 늦어서 정말 실망했어요.",
    "ar": "وصلت الشحنة متأخرة جدا ولم يرد أحد على رسائلي.",
    "hi": "यह फ़िल्म मुझे बहुत पसंद आई, आप भी ज़रूर देखिए।",
    "hi-Latn": "yaar yeh film bahut acchi hai, tum bhi zaroor dekhna",
    "tr": "Kargo üç gün geç geldi ama ürün çok güzel çıktı.",
    "id": "Pelayanannya ramah sekali dan makanannya enak, pasti kembali lagi.",
    "nl": "De levering kwam twee dagen te laat en de doos was beschadigd.",
    "pl": "Obsługa była bardzo miła, na pewno jeszcze tu wrócimy.",
    "sv": "Tåget var försenat igen och ingen sade något till oss.",
    "da": "Maden var kold, og vi måtte vente næsten en time på den.",
    "nb": "Jeg er veldig fornøyd med den nye telefonen, men prisen er for høy.",
    "fi": "Palvelu oli erittäin hyvää ja ruoka maistui kaikille.",
    "hu": "Nagyon elégedett vagyok a szolgáltatással, mindenkinek ajánlom.",
    "cs": "Zboží dorazilo včas a přesně odpovídá popisu na stránkách.",
    "ro": "Mâncarea a fost excelentă și personalul foarte amabil.",
    "uk": "Доставка була швидкою, але коробка прийшла пошкоджена.",
    "el": "Το φαγητό ήταν κρύο και η εξυπηρέτηση πολύ αργή.",
    "he": "השירות היה מצוין והאוכל הגיע חם וטעים.",
    "th": "อาหารอร่อยมาก พนักงานบริการดี จะกลับมาอีกแน่นอน",
    "vi": "Giao hàng rất nhanh, nhân viên nhiệt tình, tôi rất hài lòng.",
    "hr": "Hrana je bila izvrsna, a osoblje vrlo ljubazno, svakako ćemo opet doći ovdje tijekom ljeta.",
    "sr": "Храна је била одлична, а особље веома љубазно, сигурно ћемо опет доћи.",
    "sk": "Jedlo bolo vynikajúce a obsluha veľmi milá, určite sa ešte vrátime.",
}
FIRST = {  # hand-written posts that name a company or a place
    "en": "Boeing faces another costly delay after engineers in Seattle found serious cracks.",
    "es": "Inditex dispara sus beneficios y supera todas las previsiones.",
    "it": "Ferrari chiude un trimestre eccellente con ricavi record.",
    "id": "Gojek sangat membantu, pengemudinya ramah dan cepat!",
    "ja": "東京電力の対応は本当にひどくて、怒りしかない。",
    "zh": "上海的这家餐厅非常好吃，服务也很棒，强烈推荐！",
    "hi": "टाटा मोटर्स ने शानदार नतीजे पेश किए, निवेशक बहुत खुश हैं।",
}


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return Identifier()


def test_every_served_language_has_a_sentence() -> None:
    """The sentences below cover what is promised."""
    assert set(SENTENCES) == SERVED


@pytest.mark.parametrize(("lang", "text"), [*SENTENCES.items(), *FIRST.items()])
def test_a_sentence_is_identified(identifier: Identifier, lang: str, text: str) -> None:
    """A plain sentence is identified without a hint, and the answer is nearly sure of itself."""
    found = identifier.identify(text)
    assert (found.tag, found.hint_conflict) == (lang, False)
    assert 0.5 <= found.confidence <= 1.0


@pytest.mark.parametrize("lang", sorted(SENTENCES))
def test_a_wrong_hint_loses(identifier: Identifier, lang: str) -> None:
    """Clear evidence beats the publisher's hint, and the conflict is reported."""
    hint = "en" if lang != "en" else "de"
    found = identifier.identify(SENTENCES[lang], hint)
    assert (found.tag, found.hint_conflict) == (lang, True)


@pytest.mark.parametrize(
    "text",
    [
        "ok",
        "lol",
        "hahahaha",
        "👍",
        "",
        " ",
        "12:30 +++ 5%",
        "😂😂😂",
        "@user https://t.co/abc",
        "RT @a: 🚀",
        "\ud800",
        "¯\\_(ツ)_/¯",
    ],
)
def test_no_evidence_is_und_unless_hinted(identifier: Identifier, text: str) -> None:
    """A text that says nothing is undetermined; the hint decides where there is one."""
    assert identifier.identify(text).tag == "und"
    hinted = identifier.identify(text, "pt-BR")
    assert (hinted.tag, hinted.hint_conflict) == ("pt", False)


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [("Ich liebe dich", "fr", "de"), ("Buongiorno a tutti", "es", "it"), ("I love this song", "de", "en")],
)
def test_a_wrong_hint_loses_on_three_words(identifier: Identifier, text: str, hint: str, expected: str) -> None:
    """Three plain words are evidence enough."""
    found = identifier.identify(text, hint)
    assert (found.tag, found.hint_conflict) == (expected, True)


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("東京電力", None, "zh-Hant"),
        ("東京電力", "ja", "ja"),
        ("円安が進行", None, "ja"),
        ("我的想法和你的不同。", None, "zh"),
        ("我的想法和你的不同。", "zh-TW", "zh-Hant"),
        ("Danke sehr!", "de", "de"),
        ("Det er godt", "nb", "nb"),
        ("Det er godt", "da", "da"),
        ("Vidimo se sutra", "sr", "sr"),
        ("Vidimo se sutra", "hr", "hr"),
        ("kya baat hai", "hi", "hi-Latn"),
    ],
)
def test_a_plausible_hint_decides_close_calls(
    identifier: Identifier, text: str, hint: str | None, expected: str
) -> None:
    """Where the text alone leaves it open, the hint is believed, and no conflict is reported."""
    found = identifier.identify(text, hint)
    assert (found.tag, found.hint_conflict) == (expected, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@nytimes @guardian @nytimes Das ist leider nicht wahr https://www.example.com/this-is-english", "de"),
        ("iPhone 15 Pro Max USB-C を買った", "ja"),
        ("삼성전자 Galaxy S26 Ultra 정말 좋네요", "ko"),
        ("#Umwelt #Klima wir müssen endlich handeln", "de"),
        ("EILMELDUNG: BAHN STREIKT AB MORGEN", "de"),
        ("Mein Freund kann kein Englisch.", "de"),
        ("Habari za asubuhi rafiki yangu mpendwa", "sw"),
        ("வணக்கம் நண்பர்களே, எப்படி இருக்கிறீர்கள்", "ta"),
    ],
)
def test_what_is_not_the_authors_language_does_not_count(identifier: Identifier, text: str, expected: str) -> None:
    """Handles, links, product names and capitals do not decide; languages that are not served are named too."""
    assert identifier.identify(text).tag == expected


@pytest.mark.parametrize(
    ("hint", "tag"),
    [("EN-us", "en"), ("iw", "he"), ("in", "id"), ("no", "nb"), ("pt_BR", "pt"), ("deu", "de"), ("zh-CN", "zh"),
     ("zh_TW", "zh-Hant"), ("zh-HK", "zh-Hant"), ("cmn", "zh"), ("yue", "zh-Hant"), ("hi-Latn", "hi-Latn"),
     ("hi_IN", "hi"), ("sr-Latn", "sr"), ("sw", "sw"), (" de ", "de"), ("und", None), ("qme", None), ("zxx", None),
     ("klingon!!", None), ("xx", None), ("-", None)],
)  # fmt: skip
def test_hints_in_any_spelling(hint: str, tag: str | None) -> None:
    """A publisher's tag is read as BCP 47 means it; what is no language counts as no hint."""
    assert canonical(hint) == tag


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models come inside their packages: identification works where no connection can be opened."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert Identifier().identify(SENTENCES["nb"]).tag == "nb"


@given(text=st.text(st.characters(codec=None)), hint=st.none() | st.text(max_size=8))
def test_total(identifier: Identifier, text: str, hint: str | None) -> None:
    """Any text with any hint has an answer, its confidence a probability."""
    found = identifier.identify(text, hint)
    assert found.tag
    assert 0.0 <= found.confidence <= 1.0
    assert found.confidence > 0.0 or found.tag == "und"


def test_a_megabyte_is_read_in_part(identifier: Identifier) -> None:
    """A very long text costs no more than its beginning."""
    assert identifier.identify(SENTENCES["fi"] * 20_000).tag == "fi"


def test_scripts() -> None:
    """The script that carries the text wins over names in Latin letters; shares add up."""
    assert script_of("Купил iPhone 17 Pro").code == "Cyrl"
    assert script_of("日本の会社").code == "Kana"
    assert script_of("株式会社").code == "Hani"
    assert script_of("한국 大韓民國").code == "Hang"
    assert script_of("123 !?") == ("Zzzz", 0.0, 0)
    assert script_of("abc") == ("Latn", 1.0, 3)


def test_chinese_characters_are_told_apart_by_the_national_sets() -> None:
    """Simplified, traditional and Japanese forms each fit one set; what is common fits several."""
    assert han_readings("发现问题") == ["zh"]
    assert han_readings("發現問題你們") == ["zh-Hant"]
    assert han_readings("発売中止対応") == ["ja"]
    assert han_readings("大人") == ["zh", "zh-Hant", "ja"]


def test_romanised_hindi_needs_a_word_that_is_only_hindi() -> None:
    """Helper words alone, which other languages have too, are no evidence."""
    assert hindi_in_latin("main ke ka to se ho") == 0.0
    assert hindi_in_latin("kya hai yeh") > 0.5
