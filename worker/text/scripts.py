"""Which script a text is in, and the languages that the script or a few words alone give away."""

import re
from collections import Counter
from typing import NamedTuple


def words(text: str) -> frozenset[str]:
    """Return the words of `text` as a set: tables of words read better as text."""
    return frozenset(text.split())


# Letters are looked up by blocks of 128 code points.
_BLOCKS = (
    ("Latn", 0x0000, 0x02FF), ("Latn", 0x1E00, 0x1EFF), ("Grek", 0x0380, 0x03FF), ("Grek", 0x1F00, 0x1FFF),
    ("Cyrl", 0x0400, 0x04FF), ("Hebr", 0x0580, 0x05FF), ("Arab", 0x0600, 0x077F), ("Arab", 0xFB80, 0xFDFF),
    ("Arab", 0xFE80, 0xFEFF), ("Deva", 0x0900, 0x097F), ("Thai", 0x0E00, 0x0E7F), ("Kana", 0x3000, 0x30FF),
    ("Kana", 0xFF80, 0xFFFF), ("Hang", 0x1100, 0x11FF), ("Hang", 0x3100, 0x317F), ("Hang", 0xAC00, 0xD7FF),
    ("Hani", 0x3400, 0x9FFF), ("Hani", 0xF900, 0xFAFF), ("Hani", 0x20000, 0x3FFFF),
)  # fmt: skip
_SCRIPT_OF_BLOCK = {block: name for name, first, last in _BLOCKS for block in range(first >> 7, (last >> 7) + 1)}
OTHER = "Zzzz"  # scripts of languages that are not served

_CHARSETS = {"zh": "gb2312", "zh-Hant": "big5", "ja": "shift_jis"}

# Posts in other scripts carry Latin names and product codes, rarely the other way round, and one Chinese
# character says what four Latin letters say.
_WEIGHT = {"Latn": 1, "Hani": 6, "Kana": 6, "Hang": 6, "Thai": 2, "Hebr": 2, "Arab": 2, "Deva": 2, "Grek": 2, "Cyrl": 2}
# Chinese names write の now and then; Japanese text seldom has less than a third of kana.
_OWN_SHARE = {"Kana": 0.1, "Hang": 0.2}

_HINDI_WORDS = words(
    "aaj aap aapka aapke aapki aapko aapne aapse aata aaya abhi accha acha aisa aise aisi apka apke "
    "apki apko apna apne apni arey aur baad baat bahut bhai bhi bilkul bohat bohot chahiye dekha dekhna "
    "dekho desh diya gaya gaye gayi gya haamare hain hamara hamare hamari hoga hogi hogya hota hoti hua "
    "hue hui humko humne inke iska iske iski itna jab jaise jayega jyada kaam kabhi kaha kahan kaise "
    "karega karenge karke karna karne karo karta karte kisi kitna kitne kiya krke krna krne krta krte "
    "kuch kya kyo kyu kyun kyunki lagta lekin liya liye maine matlab mera meri muje mujhe nahi nahin "
    "nhi paisa pehle phir raha rahe rahi rha rhe rhi saari saath sabse sahi sakta sakte sirf tera teri "
    "tha thi thik thodi toh tujhe tumhara tumhe unka unke uska uske usko wala wale wali woh yaar yeh "
    "yehi"
)
_HINDI_HELPERS = words(
    "ab apse bas ek h hai hum iss jai ji jo k ka kab kar ke ki ko koi me mein mere na ne par pe sab se "
    "tak tere tum uss wo ye"
)
_WORD = re.compile(r"[a-z]+")


class Script(NamedTuple):
    """The script that carries a text: ISO 15924 code, share of the weighed letters, number of its letters.

    Kana stands for Japanese and Hang for Korean text, Chinese characters in them included.
    """

    code: str
    share: float
    letters: int


def script_of(text: str) -> Script:
    """Return the script of `text`; a text without letters is Zzzz with a share of 0."""
    if not text or max(text) < "\u0250":
        letters = sum(map(str.isalpha, text))
        return Script("Latn", 1.0, letters) if letters else Script(OTHER, 0.0, 0)
    counts: dict[str, int] = {}
    for char, count in Counter(text).items():
        if char.isalpha():
            code = _SCRIPT_OF_BLOCK.get(ord(char) >> 7, OTHER)
            counts[code] = counts.get(code, 0) + count
    if not counts:
        return Script(OTHER, 0.0, 0)
    if "Hani" in counts:
        _give_han_to_its_language(counts)
    weights = {code: count * _WEIGHT.get(code, 2) for code, count in counts.items()}
    code = max(weights, key=weights.__getitem__)
    return Script(code, weights[code] / sum(weights.values()), counts[code])


def _give_han_to_its_language(counts: dict[str, int]) -> None:
    """Count Chinese characters as Japanese or Korean where the text has enough of either's own letters."""
    own = {code: counts.get(code, 0) for code in ("Kana", "Hang")}
    code = max(own, key=own.__getitem__)
    if own[code] >= _OWN_SHARE[code] * (own[code] + counts["Hani"]):
        counts[code] += counts.pop("Hani")


def han_readings(text: str) -> list[str]:
    """Return which of zh, zh-Hant and ja a text in Chinese characters can be, the likeliest first.

    The national character sets know: what only GB 2312 holds is simplified, what only Big5 holds traditional,
    what neither holds and Shift JIS does was simplified in Japan. Many short texts fit more than one.
    """
    held = {tag: len(text.encode(charset, "ignore")) for tag, charset in _CHARSETS.items()}
    most = max(held.values())
    return [tag for tag in held if held[tag] == most]


def hindi_in_latin(text: str) -> float:
    """Return how much lower-case Latin text looks like romanised Hindi: share of its words, 0 if none is sure.

    No maintained library with a small model knows romanised Hindi; the words are frequent in it and next to
    absent from the other Latin-script languages (`docs/decisions/language-identification.md`).
    """
    found = _WORD.findall(text)
    if _HINDI_WORDS.isdisjoint(found):
        return 0.0
    sure = sum(word in _HINDI_WORDS for word in found)
    helpers = sum(word in _HINDI_HELPERS for word in found)
    return (sure + helpers / 2) / len(found)
