"""Copies of one story share bands of their fingerprints; different posts do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.near_duplicates import BANDS, BANDS_NEEDED, Fingerprint, bare_text, fingerprint

NEWS = {
    "en": "Boeing faces another costly delay after engineers in Seattle found serious cracks in the wings of its jets",
    "de": "Der Autobauer ruft weltweit eine halbe Million Wagen zurück, weil sich die Bremsen bei Kälte lösen können",
    "ru": "Сбербанк одержал победу в ежегодном конкурсе в номинации за организацию технической поддержки клиентов",
    "ar": "أعلنت الشركة اليوم عن أرباح قياسية في الربع الثالث من العام بعد ارتفاع مبيعاتها في الأسواق الناشئة",
    "hi": "कंपनी ने आज तीसरी तिमाही में रिकॉर्ड मुनाफे की घोषणा की और कहा कि उभरते बाजारों में बिक्री बढ़ी है",
    "ja": "トヨタ自動車は本日、第三四半期の純利益が過去最高を更新したと発表し、通期の業績予想を上方修正した",
    "zh": "该公司今天宣布第三季度利润创历史新高，并表示新兴市场的销售额比去年同期增长了百分之二十以上",
    "th": "บริษัทประกาศผลกำไรสูงสุดเป็นประวัติการณ์ในไตรมาสที่สามและปรับเพิ่มประมาณการรายได้ตลอดทั้งปีนี้",
}
OTHER_NEWS = {
    "en": "Boeing wins a large order from an airline in Chile and will build the jets in Seattle from next year on",
    "de": "Der Autobauer stellt in Leipzig tausend Leute ein und baut dort ab Herbst einen kleinen Wagen mit Batterie",
    "ja": "ホンダは来年春に新しい電気自動車を北米で発売する計画を明らかにし、価格は三万ドル前後になる見通し",
}


def same_story(one: Fingerprint, other: Fingerprint) -> bool:
    """As the index decides between two posts."""
    return one.needed == other.needed and len(set(one.bands) & set(other.bands)) >= one.needed


@pytest.mark.parametrize("text", NEWS.values(), ids=NEWS)
@pytest.mark.parametrize(
    "changed",
    [
        lambda text: f"RT @somebody: {text}",
        lambda text: f"{text} https://t.co/AbC123",
        lambda text: text[: len(text) * 9 // 10] + "…",
        lambda text: text.upper(),
        lambda text: f"{text} (dpa)",
        lambda text: text.replace(" ", "  ").replace(",", " -"),
    ],
    ids=["retweet", "link", "cut", "case", "agency", "spaces"],
)
def test_a_copy_is_recognised_in_any_script(text: str, changed: object) -> None:
    """A retweet, another link, a cut end, other case, an agency's name, other punctuation: the same story."""
    assert same_story(fingerprint(text), fingerprint(changed(text)))  # type: ignore[operator]


@pytest.mark.parametrize(("text", "other"), [(NEWS[code], other) for code, other in OTHER_NEWS.items()], ids=OTHER_NEWS)
def test_other_news_about_the_same_company_is_another_story(text: str, other: str) -> None:
    """Sharing names and a topic does not make a copy."""
    assert not same_story(fingerprint(text), fingerprint(other))


def test_short_texts_are_copies_only_when_they_are_equal() -> None:
    """Of a few words one more changes the meaning: only links, mentions, case and punctuation may differ."""
    short = fingerprint("Buy Tesla today!")
    assert (len(short.bands), short.needed) == (1, 1)
    assert fingerprint("@all buy TESLA today https://t.co/x").bands == short.bands
    assert fingerprint("Sell Tesla today!").bands != short.bands


@pytest.mark.parametrize("text", ["", "😀😀🎉", "https://example.org/a", "@you", "Thank you!", "lol", "谢谢"])
def test_what_says_too_little_is_a_copy_of_nothing(text: str) -> None:
    """A thousand people who write "thank you" are a thousand opinions."""
    assert fingerprint(text).bands == ()


@given(st.text(max_size=400), st.sampled_from(["", "RT @some_one: ", "rt @x "]), st.sampled_from(["", " http://a.b/c"]))
def test_any_text_has_a_fingerprint_that_its_wrapping_does_not_change(text: str, before: str, after: str) -> None:
    """Total, lone surrogates and all; a retweet's prefix and a link at the end are not the author's words."""
    plain = fingerprint(f"x {text}")
    assert len(plain.bands) in {0, 1, BANDS}
    assert plain.needed == (BANDS_NEEDED if len(plain.bands) == BANDS else 1)
    assert all(0 <= band < 1 << 61 for band in plain.bands)
    assert fingerprint(f"{before}x {text}{after}") == plain


def test_lone_surrogates_are_text() -> None:
    """They reach no post, but a fingerprint never fails."""
    assert len(fingerprint("\ud83d" + NEWS["en"]).bands) == BANDS
    assert len(fingerprint("\ud83d short words").bands) <= 1


def test_fingerprints_do_not_change_with_a_release() -> None:
    """They are kept in Redis: another hash in the library, or other shingles, would split every running story."""
    assert fingerprint(NEWS["en"]).bands[:2] == (2098124676017880422, 164328641775460088)
    assert fingerprint("Buy Tesla today!").bands == (1246114101940819521,)


@given(st.text(max_size=200))
def test_bare_text_is_bare_text_of_itself(text: str) -> None:
    """Nothing is left that a second pass would take."""
    bare = bare_text(text)
    assert bare_text(bare) == bare
