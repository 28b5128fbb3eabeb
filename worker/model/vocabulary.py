"""Trim a base encoder's vocabulary to the pieces that the served languages use.

82 % of the base's weights are token embeddings; most belong to languages that are not served.
"""

import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import BertModel

SERVED = (
    *("en", "de", "fr", "es", "pt", "it", "ru", "zh", "zh-Hant", "ja", "ko", "ar", "hi", "hi-Latn", "tr", "id"),
    *("nl", "pl", "sv", "da", "nb", "fi", "hu", "cs", "ro", "uk", "el", "he", "th", "vi", "hr", "sr", "sk"),
)
MAIN = frozenset(SERVED[:16])
# The order is the order of reading: everyday and social text first, then news, then the encyclopaedia.
RAW_SOURCES = (
    *("common_voice", "tatoeba_tests", "ntrex128_news", "arabic_tweets", "nsmc_reviews", "fincuge_finance", "wmt_news"),
    *(
        "tico19",
        "turkish_movie_reviews",
        "desmond86_id_en",
        "exams_wiki_paragraphs",
        "fewclue_unlabeled",
        "ud_treebanks",
    ),
    *("lingua_testdata", "bitcoin_org", "opensource_guide", "ted_talks"),
)
TASKS = ("sentiment", "ner", "topic")
SAMPLE_CHARS = 300_000  # from one file: no single source decides a language's pieces
LANGUAGE_CHARS = 3_000_000
RARE_CHARACTER = 3  # a single character seen this often is kept whatever its rank
Progress = Callable[[int, int], None]


def count_pieces(data: Path, tokenizer: Tokenizer, progress: Progress | None = None) -> dict[str, Counter[int]]:
    """How often each piece id occurs in a sample of each served language's text below `data`."""
    jobs = [(data, tokenizer.to_str(), language) for language in SERVED]
    counts: dict[str, Counter[int]] = {}
    with Pool() as pool:
        for done, (language, counter) in enumerate(pool.imap_unordered(_count_language, jobs), 1):
            counts[language] = counter
            if progress:
                progress(done, len(jobs))
    return counts


def _count_language(job: tuple[Path, str, str]) -> tuple[str, Counter[int]]:
    data, serialised, language = job
    tokenizer, counter, chars = Tokenizer.from_str(serialised), Counter[int](), 0
    for path in language_files(data, language):
        for lines in _batches(_sample(path), 500):
            chars += sum(map(len, lines))
            for encoding in tokenizer.encode_batch(lines, add_special_tokens=False):
                counter.update(encoding.ids)
        if chars > LANGUAGE_CHARS:
            break
    return language, counter


def language_files(data: Path, language: str) -> list[Path]:
    """Labelled training files of the language, then raw text, each in the order of reading."""
    labelled = [path for task in TASKS for path in sorted((data / task).glob(f"*/{language}.train.jsonl.xz"))]
    raw = [path for source in RAW_SOURCES if (path := data / "raw" / source / f"{language}.txt.xz").is_file()]
    return labelled + raw


def _sample(path: Path) -> Iterator[str]:
    chars = 0
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = _text_of(json.loads(line)) if path.name.endswith(".jsonl.xz") else line.strip()
            chars += len(text)
            if chars > SAMPLE_CHARS:
                return
            yield text


def _text_of(row: dict[str, Any]) -> str:
    return str(row["text"]) if "text" in row else " ".join(row["tokens"])


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def choose_pieces(tokenizer: Tokenizer, counts: dict[str, Counter[int]], target: int) -> list[int]:
    """At least `target` ids to keep, ascending: the pieces with the highest summed share of their languages' tokens.

    A share, not a count, so that a language with little text gets its part; MAIN languages count twice. Kept in any
    case: special pieces, single characters seen RARE_CHARACTER times, and the characters of kept pieces.
    """
    weight: Counter[int] = Counter()
    total: Counter[int] = Counter()
    for language, counter in counts.items():
        scale = (2.0 if language in MAIN else 1.0) / max(1, counter.total())
        total.update(counter)
        for ident, count in counter.items():
            weight[ident] += count * scale  # type: ignore[assignment]
    pieces = {ident: piece for piece, ident in tokenizer.get_vocab().items()}
    keep = {ident for ident, piece in pieces.items() if is_special(piece)}
    keep.update(ident for ident, count in total.items() if count >= RARE_CHARACTER and len(_bare(pieces[ident])) <= 1)
    for ident, _ in weight.most_common():
        if len(keep) >= target:
            break
        keep.add(ident)
    return sorted(keep | _bare_characters(pieces, keep))


def coverage(counts: dict[str, Counter[int]], keep: list[int]) -> dict[str, float]:
    """The share of each language's tokens that a vocabulary of these ids holds as they are."""
    kept = set(keep)
    return {
        lang: sum(n for ident, n in counter.items() if ident in kept) / max(1, counter.total())
        for lang, counter in counts.items()
    }


def _bare_characters(pieces: dict[int, str], keep: set[int]) -> set[int]:
    """The single-character pieces of every kept piece: with them no text of kept pieces can become unknown."""
    characters = {character for ident in keep for character in pieces[ident] if not is_special(pieces[ident])}
    return {ident for ident, piece in pieces.items() if piece in characters or piece.removeprefix("##") in characters}


def _bare(piece: str) -> str:
    return piece.removeprefix("\u2581").removeprefix("##")


def is_special(piece: str) -> bool:
    """Whether a piece is one of those that stand for no text."""
    return piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def trim_tokenizer(tokenizer: Tokenizer, keep: list[int]) -> Tokenizer:
    """The same tokenizer over the kept pieces: scores stay, ids become positions in `keep` (Unigram or WordPiece)."""
    new_id = {old: new for new, old in enumerate(keep)}
    spec: dict[str, Any] = json.loads(tokenizer.to_str())
    vocabulary = spec["model"]["vocab"]
    if isinstance(vocabulary, list):
        spec["model"]["vocab"] = [vocabulary[old] for old in keep]
        spec["model"]["unk_id"] = new_id[spec["model"]["unk_id"]]
    else:
        spec["model"]["vocab"] = {piece: new_id[old] for piece, old in vocabulary.items() if old in new_id}
    for added in spec["added_tokens"]:
        added["id"] = new_id[added["id"]]
    _renumber_ends(spec["post_processor"], new_id)
    return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))


def _renumber_ends(post_processor: dict[str, Any], new_id: dict[int, int]) -> None:
    if post_processor["type"] == "TemplateProcessing":
        for special in post_processor["special_tokens"].values():
            special["ids"] = [new_id[old] for old in special["ids"]]
    else:  # BertProcessing and RobertaProcessing hold (piece, id) pairs
        for end in ("sep", "cls"):
            piece, old = post_processor[end]
            post_processor[end] = [piece, new_id[old]]


def trim_encoder(encoder: BertModel, keep: list[int]) -> BertModel:
    """The same encoder with the kept rows of the word embeddings only (changed in place and returned)."""
    old = encoder.embeddings.word_embeddings.weight.data
    padding = keep.index(encoder.config.pad_token_id)
    fresh = torch.nn.Embedding(len(keep), old.shape[1], padding_idx=padding)
    fresh.weight.data.copy_(old[torch.tensor(keep)])
    encoder.embeddings.word_embeddings = fresh
    encoder.config.vocab_size, encoder.config.pad_token_id = len(keep), padding
    return encoder
