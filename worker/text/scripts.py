"""Which script a text is in, and the languages that the script or a few words alone give away."""

import re

# Letters are looked up by blocks of 128 code points; None is a script shared by languages nobody serves.
_BLOCKS = (
    ("Latn", 0x0000, 0x02FF), ("Latn", 0x1E00, 0x1EFF), ("Grek", 0x0380, 0x03FF), ("Grek", 0x1F00, 0x1FFF),
    ("Cyrl", 0x0400, 0x04FF), ("Hebr", 0x0580, 0x05FF), ("Arab", 0x0600, 0x077F), ("Arab", 0xFB80, 0xFDFF),
    ("Arab", 0xFE80, 0xFEFF), ("Deva", 0x0900, 0x097F), ("Thai", 0x0E00, 0x0E7F), ("Kana", 0x3000, 0x30FF),
    ("Kana", 0xFF80, 0xFFFF), ("Hang", 0x1100, 0x11FF), ("Hang", 0x3100, 0x317F), ("Hang", 0xAC00, 0xD7FF),
    ("Hani", 0x3400, 0x9FFF), ("Hani", 0xF900, 0xFAFF), ("Hani", 0x20000, 0x3FFFF),
)  # fmt: skip
_SCRIPT_OF_BLOCK = {block: name for name, first, last in _BLOCKS for block in range(first >> 7, (last >> 7) + 1)}
OTHER = "Zzzz"

# Posts in other scripts carry Latin names and product codes, rarely the other way round, and one Chinese
# character says what four Latin letters say.
_WEIGHT = {"Latn": 1, "Hani": 4, "Kana": 4, "Hang": 4, "Thai": 2, "Hebr": 2, "Arab": 2, "Deva": 2, "Grek": 2, "Cyrl": 2}
_KANA_SHARE = 0.1  # Chinese writes の in names now and then; Japanese seldom has less than a third of kana

_KANJI_ONLY_IN_JAPAN = re.compile("[円込働峠枠畑匂咲塩発気対図広売読転鉄駅駄黒検権関応覚観戦団圧囲栄県単様浜渋済斎沢択証遅総]")

_HINDI_WORDS = frozenset(
    "aaj aaya aata aisa aisi aap aapka aapke aapki aapko aapne abhi accha acha aise apka apke apki apko apna apne apni aur baad "
    "baar baat bahut bhai bhi bohot chahiye dekha dekhna dekho desh diya gaya gaye gayi gya hain hoga hogi hoti hota hua hui hue "
    "hum humko hamare inke iska iske iski itna jab jaise jyada kaam kabhi kaha kahan kaise karke karna karne karo karta karte kisi kiya kitna "
    "kitne koi krna kro kuch kya kyu kyun kyunki lagta lekin liya liye matlab mein mera meri mere mujhe nahi nahin nai paisa pehle phir raha "
    "rahe rahi rha rhe rhi saath sabse sahi sakta sakte sirf tera tere teri tha thi thik thodi toh tujhe tumhe tumhara unka unke uska uske usko "
    "wala wale wali woh yaar yeh".split()
)
_HINDI_HELPERS = frozenset("hai ka ki ke ko se me ne ho hi na par sab tak tum jo ab kar jai ji ek wo ye kab".split())
_WORD = re.compile(r"[a-z]+")


def script_of(text: str) -> tuple[str, float, int]:
    """Return the script that carries `text`, its share of the weighed letters, and its weight.

    Scripts are ISO 15924 codes, with Kana for Japanese and Hang for Korean text that also holds Chinese
    characters. A weight of 1 is one Latin letter; a text without letters weighs 0.
    """
    weights: dict[str, int] = {}
    if text.isascii():
        letters = sum(map(str.isalpha, text))
        return "Latn", 1.0 if letters else 0.0, letters
    for char in text:
        if char.isalpha():
            script = _SCRIPT_OF_BLOCK.get(ord(char) >> 7, OTHER)
            weights[script] = weights.get(script, 0) + _WEIGHT.get(script, 2)
    if not weights:
        return OTHER, 0.0, 0
    total = sum(weights.values())
    han = weights.get("Hani", 0)
    if han:
        kana, hangul = weights.get("Kana", 0), weights.get("Hang", 0)
        owner = "Hang" if hangul > kana and hangul >= han / 4 else "Kana" if kana >= _KANA_SHARE * (kana + han) else "Hani"
        if owner != "Hani":
            weights[owner] += weights.pop("Hani")
    script = max(weights, key=weights.__getitem__)
    return script, weights[script] / total, weights[script]


def han_variant(text: str) -> str | None:
    """Return zh, zh-Hant or ja for a text in Chinese characters, or None where its characters are common to them.

    The national character sets know: what only GB 2312 holds is simplified, what only Big5 holds traditional,
    what neither holds and Shift JIS does was simplified in Japan.
    """
    simplified = len(text.encode("gb2312", "ignore"))
    traditional = len(text.encode("big5", "ignore"))
    if simplified == traditional:
        return None
    return "zh" if simplified > traditional else "zh-Hant"


def hindi_in_latin(text: str) -> float:
    """Return how much lower-case Latin text looks like romanised Hindi: marked words, 0 unless two are sure.

    No maintained library with a small model knows romanised Hindi; the words are frequent in it and next to
    absent from the other Latin-script languages (`docs/decisions/language-identification.md`).
    """
    words = _WORD.findall(text)
    sure = sum(word in _HINDI_WORDS for word in words)
    helpers = sum(word in _HINDI_HELPERS for word in words)
    return (sure + helpers / 2) / len(words) if sure else 0.0
