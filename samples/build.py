"""Build `posts.social.jsonl` and `posts.financial.jsonl` from the data sets; the same input gives the same bytes.

    python samples/build.py --data ../shared/data

Only sources whose licence allows commercial use, and of those only train and dev splits. Mentions become `@user`,
links `https://example.com`, texts with insults, addresses or telephone numbers are left out.
"""

import argparse
import hashlib
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).parent
START = datetime(2026, 11, 20, 9, tzinfo=UTC)
SPAN_S = 3 * 3600
AUTHORS = 400


@dataclass(frozen=True)
class Source:
    """Where the texts of a data set lie, what they are and under which licence."""

    path: str
    genre: str
    licence: str
    label: str | None = None  # keep only rows with this label
    language: str = "{lang}"  # the data set's name of the language, where it differs


SOURCES = {
    "afrisenti": Source("sentiment/afrisenti/{lang}.train.jsonl.xz", "tweet", "CC-BY-4.0"),
    "arsarcasm_v2": Source("sentiment/arsarcasm_v2/{lang}.train.jsonl.xz", "tweet", "MIT"),
    "bitcoin_org": Source("raw/bitcoin_org/{lang}.txt.xz", "guide", "MIT"),
    "btc_twitter": Source("ner/btc_twitter/{lang}.train.jsonl.xz", "tweet", "CC-BY-4.0"),
    "chabsa": Source("sentiment/chabsa/{lang}.train.jsonl.xz", "filing", "CC-BY-4.0"),
    "common_voice": Source("raw/common_voice/{lang}.txt.xz", "everyday", "CC0-1.0"),
    "husst": Source("sentiment/husst/{lang}.train.jsonl.xz", "review", "CC-BY-SA-4.0"),
    "newsmtsc": Source("sentiment/newsmtsc/{lang}.train.jsonl.xz", "news", "MIT"),
    "nsmc_raw": Source("sentiment/nsmc_raw/{lang}.train.jsonl.xz", "review", "CC0-1.0"),
    "ntrex128_news": Source("raw/ntrex128_news/{lang}.txt.xz", "news", "CC-BY-SA-4.0"),
    "nusax": Source("sentiment/nusax/{lang}.train.jsonl.xz", "review", "CC-BY-SA-4.0"),
    "opensource_guide": Source("raw/opensource_guide/{lang}.txt.xz", "guide", "CC-BY-4.0"),
    "rusentne": Source("sentiment/rusentne/{lang}.train.jsonl.xz", "news", "MIT"),
    "sentfin": Source("sentiment/sentfin/{lang}.train.jsonl.xz", "headline", "MIT"),
    "tatoeba_tests": Source("raw/tatoeba_tests/{lang}.txt.xz", "everyday", "CC-BY-2.0-FR"),
    "tico19": Source("raw/tico19/{lang}.txt.xz", "health", "CC0-1.0"),
    "wisesight": Source("sentiment/wisesight/{lang}.train.jsonl.xz", "social", "CC0-1.0"),
    "ynat_dacon": Source("topic/ynat_dacon/{lang}.train.jsonl.xz", "headline", "CC-BY-SA-4.0"),
}
# Posts per topic, language and source.
PLAN = {
    "posts.social": {
        "en": {"btc_twitter": 50, "newsmtsc": 20, "nusax": 25},
        "de": {"ntrex128_news": 45, "tatoeba_tests": 35, "common_voice": 15},
        "fr": {"ntrex128_news": 40, "tatoeba_tests": 40, "tico19": 15},
        "es": {"ntrex128_news": 45, "tatoeba_tests": 40, "common_voice": 10},
        "pt": {"afrisenti": 90, "tatoeba_tests": 10},
        "it": {"ntrex128_news": 45, "tatoeba_tests": 40, "common_voice": 10},
        "ru": {"rusentne": 60, "tatoeba_tests": 30},
        "zh": {"ntrex128_news": 45, "tatoeba_tests": 30, "tico19": 20},
        "ja": {"ntrex128_news": 35, "tatoeba_tests": 35},
        "ko": {"nsmc_raw": 50, "ynat_dacon": 25},
        "ar": {"arsarcasm_v2": 50, "ntrex128_news": 35, "tico19": 10},
        "hi": {"ntrex128_news": 40, "tatoeba_tests": 30, "tico19": 15, "opensource_guide": 10},
        "tr": {"ntrex128_news": 45, "tatoeba_tests": 45},
        "id": {"nusax": 80, "tico19": 10},
        "th": {"wisesight": 75},
        "zh-Hant": {"ntrex128_news": 30, "tatoeba_tests": 25},
        "nl": {"ntrex128_news": 30, "tatoeba_tests": 25},
        "pl": {"ntrex128_news": 30, "tatoeba_tests": 25},
        "uk": {"ntrex128_news": 30, "tatoeba_tests": 25},
        "sv": {"ntrex128_news": 30, "tatoeba_tests": 30},
        "hu": {"husst": 55},
        "he": {"ntrex128_news": 35, "tatoeba_tests": 30},
    },
    "posts.financial": {
        "en": {"sentfin": 60},
        "ja": {"chabsa": 60},
        "ko": {"ynat_dacon": 55},
        "tr": {"bitcoin_org": 35},
        **dict.fromkeys("de fr es pt it ru zh ar hi id".split(), {"bitcoin_org": 30}),  # noqa: SIM905
        **dict.fromkeys("zh-Hant nl pl uk sv hu he".split(), {"bitcoin_org": 15}),  # noqa: SIM905
    },
}
ECONOMY = "경제"  # ynat_dacon: these headlines are financial, the others are not
FILE_LANGUAGE = {("bitcoin_org", "pt"): "pt-BR"}

# Hints as publishers write them; the languages left out write the plain tag.
SPELLINGS = {
    "en": ("en", "en-US", "EN"), "pt": ("pt", "pt-BR"), "id": ("id", "in"), "he": ("he", "iw"), "zh": ("zh", "zh-CN"),
    "zh-Hant": ("zh-TW", "zh-Hant"), "de": ("de", "de-AT"), "es": ("es", "es_MX"), "ko": ("ko", "ko-KR"),
}  # fmt: skip
HINTED, MISHINTED = 0.5, 0.02
OFFSETS_H = {"ja": 9, "ko": 9, "th": 7, "id": 7, "zh": 8, "zh-Hant": 8, "tr": 3, "ru": 3, "de": 1, "es": 1, "pt": 2}

MENTION = re.compile(r"(?<![\w.])@\s?(?!user\b)[\w.\u0e00-\u0e7f]*\w[\u0e00-\u0e7f]*")
BARE_HANDLE = re.compile(r"(?<!#)\b(?:[A-Z]?[a-z]+[A-Z]\w*[a-z]\w*|\w*[a-z]_\w*|\d+[a-z]{4,})\b")  # where the data lost its @
LINK = re.compile(r"(?:https?://|www\.|pic\.twitter\.com/|t\.co/)[^\s…]+|https?:?/?/?…|(?<=\s)https?\S*$")
PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.\w+|(?:\d[ .()-]?){8,}|\bDM\b|whats?app|telegram|line ?id", re.IGNORECASE)
MARKUP = re.compile(r"[<>{}|\\]|^[\w-]+$|^\W|\w: \"|\*\*|\]\(|\[[A-Z]+\]|&\w+;|\"$")
SENTENCE_END = tuple(".!?。！？।…؟")
# Found by reading: rows in another language than their file's.
LEFT_OUT = frozenset(("nusax-XX", "btc_twitter-XX"))
UNWANTED = re.compile(
    r"fuck|shit|bitch|nigg|fagg|cunt|whore|slut|\brap(?:e|ist)|porn|\bsex|\bass\b|suicid|\bkill|dick\b|pussy|retard|tosser|dickhead|immigrant|kidnap|Ferguson|"
    r"caralho|\bput[ao]|fod[ae]|merd|porra|buceta|viado|cona\b|crl\b|fdp|niga|copular|tesão|"
    r"hure|arsch|fick|scheiß|selbstmord|vergewalt|putain|salope|encul|viol[ée]|mierda|coño|joder|cazz|stronz|"
    r"хуй|хуе|бля|пизд|еба|сука|суки|изнасил|самоуби|дерьм|"
    r"เหี้ย|สัส|ควย|เย็ด|หี|แม่ง|ไอ้|อี[ดสค]อก|ส้นตีน|กู|มึง|[ชฉ]ิบหาย|แดก|ตายห่า|ทักษิณ|เผด็จการ|วรุฒ|"
    r"씨발|시발|병신|새끼|좆|ㅅㅂ|지랄|존나|졸라|창녀|년들|미친|강간|성폭|자살|쓰레기|"
    r"كلب|كلاب|شرموط|عرص|خول|كس[ مو]|زبال|حمار|حقير|خنزير|اغتصاب|طيز|قحب|غبي|فاضح|وسخ|قذر|خازوق|تعريص|عبيد|عبودي|جوالي|"
    # Arabic tweets of 2013-2016: no parties to the wars and revolts of the time.
    r"داعش|[اإ]خوان|ثور|انقلاب|حرب|قتل|[اإ]رهاب|شهيد|شهداء|إيران|ايران|حوثي|سيسي|مرسي|مبارك|مجاهد|انتخاب|روافض|شيع|يهود|سوريا|حلب|سنة |"
    # Sermons of some accounts, and talk about whom people love.
    r"#\w*(?:Word|Repent|Gospel|Wonder|Resurrection)|YAHWEH|MESSIAS|EVANGELHO|pecad|\bgays?\b|lesb|homosse|homose|гей\b|"
    r"anjing|bangsat|kontol|memek|goblok|tolol|bunuh|"
    r"強姦|强奸|自杀|自殺|婊子|レイプ|死ね|チンコ|बलात्कार|आत्महत्या|चूत|"
    r"siktir|orospu|\bamk\b|\bgöt|tecavüz|intihar|kurw|chuj|jebać|gwałt|kanker|hoer|neuk|knulla|hora\b|våldt|"
    r"kurv|\bfasz|picsa|baszd|זונה|לזיין|אונס",
    re.IGNORECASE,
)


def texts(path: Path, source: Source, economy: bool) -> Iterator[tuple[str, str]]:
    """Yield (text, label) of one file; tokens are joined the way English is written."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            if path.name.endswith(".txt.xz"):
                yield line.strip(), ""
                continue
            row = json.loads(line)
            text = row.get("text") or joined(row["tokens"])
            label = row.get("label", "")
            if "ynat" in source.path and (label == ECONOMY) != economy:
                continue
            yield text.strip(), label


def joined(tokens: list[str]) -> str:
    text = " ".join(tokens)
    text = re.sub(r" ([.,!?;:%)…]|'\w+|n't)(?=\s|$|[.,!?])", r"\1", text, flags=re.IGNORECASE)
    return re.sub(r"(\d,) (?=\d{3}\b)", r"\1", re.sub(r"([($#@]) ", r"\1", text))


def cleaned(text: str, genre: str) -> str | None:
    """Return the text without handles and links, or None for one that does not belong into a sample."""
    text = LINK.sub("https://example.com", MENTION.sub("@user", text))
    wide = sum(char > "\u2e80" for char in text)
    length = len(text) + 2 * wide
    if not 24 <= length <= 420 or PERSONAL.search(text) or UNWANTED.search(text):
        return None
    if genre == "tweet" and text.isascii() and BARE_HANDLE.search(text):
        return None
    if genre in ("guide", "health", "news") and (MARKUP.search(text) or not text.endswith(SENTENCE_END)):
        return None
    return None if "�" in text or not text.isprintable() or text.count("@user") > 3 else text


def chosen(data: Path, name: str, lang: str, topic: str, count: int) -> list[str]:
    """Return `count` texts, the labels of a labelled source in equal parts."""
    source = SOURCES[name]
    path = data / source.path.format(lang=FILE_LANGUAGE.get((name, lang), lang))
    by_label: dict[str, list[str]] = {}
    seen = set()
    for raw, label in texts(path, source, economy=topic == "posts.financial"):
        text = cleaned(raw, source.genre)
        if text and text not in seen and post_id(name, lang, text) not in LEFT_OUT:
            seen.add(text)
            by_label.setdefault(label, []).append(text)
    draw = random.Random(f"{name}.{lang}.{topic}")
    for found in by_label.values():
        draw.shuffle(found)
    turns = [found[turn] for turn in range(count) for _, found in sorted(by_label.items()) if turn < len(found)]
    if len(turns) < count:
        raise SystemExit(f"{path}: {len(turns)} usable texts, {count} wanted: lower the number in PLAN")
    return turns[:count]


def post_id(name: str, lang: str, text: str) -> str:
    return f"{name}-{hashlib.sha256(f'{name}.{lang}.{text}'.encode()).hexdigest()[:10]}"


def posts(data: Path, topic: str) -> Iterator[dict[str, object]]:
    """Yield the posts of one topic in the order of their arrival."""
    rows = [
        (name, lang, text)
        for lang, sources in PLAN[topic].items()
        for name, count in sources.items()
        for text in chosen(data, name, lang, topic, count)
    ]
    draw = random.Random(topic)
    draw.shuffle(rows)
    for place, (name, lang, text) in enumerate(rows):
        post = {
            "id": post_id(name, lang, text),
            "source": name,
            "author": f"reader_{int(AUTHORS * draw.random() ** 2):03d}",
            "published_at": published_at(place / len(rows), lang, draw),
            "text": text,
        }
        hint = hinted(lang, draw)
        if hint:
            post["language"] = hint
        source = SOURCES[name]
        yield post | {"metadata": {"dataset": name, "lang": lang, "genre": source.genre, "licence": source.licence}}


def published_at(share: float, lang: str, draw: random.Random) -> str:
    """Return a time that grows with `share`, some seconds out of order, one in twenty up to 20 minutes late."""
    late_s = draw.uniform(0, 1200) if draw.random() < 0.05 else draw.uniform(0, 45)
    when = START + timedelta(seconds=max(0, round(share * SPAN_S - late_s)))
    if draw.random() < 0.2:
        return when.astimezone(timezone(timedelta(hours=OFFSETS_H.get(lang, 0)))).isoformat()
    return when.isoformat().replace("+00:00", "Z")


def hinted(lang: str, draw: random.Random) -> str | None:
    """Return the publisher's idea of the language: none for half of the posts, a wrong one for a few."""
    if draw.random() >= HINTED:
        return None
    if draw.random() < MISHINTED / HINTED:
        return "en" if lang != "en" else draw.choice(("de", "ja", "es"))
    return draw.choice(SPELLINGS.get(lang, (lang,)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    for topic in PLAN:
        found = list(posts(options.data, topic))
        lines = [json.dumps(post, ensure_ascii=False, separators=(",", ":")) + "\n" for post in found]
        (options.out / f"{topic}.jsonl").write_text("".join(lines), encoding="utf-8")
        counts = Counter((str(post["source"]), str(post["metadata"]["lang"])) for post in found)  # type: ignore[index]
        print(f"{topic}: {len(found)} posts, {sum(map(len, map(str.encode, lines))):,} bytes")
        for source in SOURCES:
            langs = ", ".join(f"{lang} {count}" for (name, lang), count in sorted(counts.items()) if name == source)
            if langs:
                print(f"  {source}: {langs}")


if __name__ == "__main__":
    main()
