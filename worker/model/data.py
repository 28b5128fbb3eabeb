"""Read labelled rows and turn them into examples; lay word labels on tokens."""

import hashlib
import json
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Encoding

from worker.model.detokenise import join_words
from worker.model.network import SENTIMENT_LABELS, TAG_LABELS
from worker.model.topics import TopicTable
from worker.text.normalise import normalise

IGNORED = -100  # torch's cross entropy skips this label
NEUTRAL = SENTIMENT_LABELS.index("neutral")
SPAN_TYPES = ("PER", "ORG", "LOC")
HELD_OUT_PERCENT = 15
# Written without spaces between words, so characters of the tokens are joined as they are.
UNSPACED = frozenset({"zh", "zh-Hant", "ja", "th"})
ALIASES = {"pt-BR": "pt", "nn": "nb"}
WORD_START = "\u2581"  # SentencePiece's mark for the space before a word
TURKISH_SUFFIX = re.compile(r"(?<=\w\w)['’][a-zçğıöşü]+$")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
Span = tuple[
    int, int, str
]  # start, end (characters of the text, end exclusive), type; MISC and unknown types are ignored in training


class DataError(ValueError):
    """A row that cannot be used; the message holds the file, the line and the reason."""


@dataclass(frozen=True)
class Part:
    """A stretch of a text with a sentiment of its own; `end` exclusive."""

    start: int
    end: int
    sentiment: int  # column of SENTIMENT_LABELS
    source: str


@dataclass(frozen=True)
class Example:
    """One labelled text. Exactly one of the three labels is set, or `parts`."""

    text: str
    language: str
    source: str
    sentiment: int | None = None  # column of SENTIMENT_LABELS
    topic: frozenset[int] | None = None  # columns that the source's label may mean
    spans: tuple[Span, ...] | None = None
    parts: tuple[Part, ...] = ()  # of two posts in one text: the text then has no sentiment as a whole


@dataclass(frozen=True)
class DataFile:
    """A file `<source>/<language>.<split>.jsonl` or `.jsonl.xz`, its parts read off the path, of one task."""

    path: Path
    task: str  # `sentiment`, `ner` or `topic`
    rows: tuple[int, int] | None = None  # those used: the first, and the one after the last; None: all

    @property
    def source(self) -> str:
        """The source's folder name."""
        return self.path.parent.name

    @property
    def split(self) -> str:
        """`train`, `dev` or `test`; "" in a name without it."""
        return self.path.name.split(".jsonl")[0].partition(".")[2]

    @property
    def language(self) -> str:
        """The BCP 47 tag, variants folded onto the language that is served."""
        tag = self.path.name.split(".")[0]
        return ALIASES.get(tag, tag)


def stable_hash(text: str) -> int:
    """32 bits that depend on the text alone, on every machine."""
    return int(hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:8], 16)


def held_out(text: str) -> bool:
    """True for the fixed 15 % of rows that stay out of training where a source's dev split is trained on."""
    return stable_hash(text) % 100 < HELD_OUT_PERCENT


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, row) of a .jsonl or .jsonl.xz file.

    Raises:
        DataError: the file is damaged, or a line is not a JSON object.
    """
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(_whole_lines(path, lines), 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON ({error.msg}); expected one object a line") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: {type(row).__name__} instead of a JSON object")
            yield number, row


def _whole_lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    try:
        yield from lines
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged or not UTF-8 ({error}); copy it again") from error


def read_examples(file: DataFile, topics: TopicTable) -> Iterator[Example]:
    """The file's examples; rows of unmapped topic labels and of empty text are left out."""
    return (example for example in read_labelled(file, topics) if example is not None)


def read_labelled(file: DataFile, topics: TopicTable) -> Iterator[Example | None]:
    """As `read_examples`, with None in the place of a row that is left out."""
    build = {"sentiment": sentiment_example, "topic": topic_example, "ner": ner_example}[file.task]
    for number, row in islice(read_rows(file.path), *(file.rows or (None,))):
        try:
            example = build(row, file, topics)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{file.path}:{number}: {type(error).__name__}: {error}; see the data directory's README for the form"
            ) from error
        yield example if example is not None and example.text else None


def sentiment_example(row: dict[str, Any], file: DataFile, _topics: TopicTable) -> Example | None:
    """A row with `text` and `label`; ValueError for a label that is none of the three."""
    label = row["label"]
    if label not in SENTIMENT_LABELS:
        raise ValueError(f"label {label!r} is none of {', '.join(SENTIMENT_LABELS)}")
    return Example(clean(row["text"]), file.language, file.source, sentiment=SENTIMENT_LABELS.index(label))


def topic_example(row: dict[str, Any], file: DataFile, topics: TopicTable) -> Example | None:
    """A row with `text` and `label`; None when the table maps the label to nothing."""
    columns = topics.columns(file.source, row["label"])
    return Example(clean(row["text"]), file.language, file.source, topic=columns) if columns else None


def ner_example(row: dict[str, Any], file: DataFile, _topics: TopicTable) -> Example | None:
    """A row with `tokens` and `tags` (IOB2), and `text` or exact `spans` where the script has no spaces."""
    words, tags = row["tokens"], row["tags"]
    if len(words) != len(tags):
        raise ValueError(f"{len(words)} tokens but {len(tags)} tags")
    if "spans" in row:
        return Example(
            row["text"], file.language, file.source, spans=tuple((s, e, kind) for s, e, kind in row["spans"])
        )
    if "text" in row:
        text, places = row["text"], find_words(row["text"], words)
    else:
        words, tags = hide_mentions(words, tags)
        text, places = join_words(words, spaced=file.language not in UNSPACED)
    spans = word_spans(places, tags)
    if file.language == "tr":
        spans = [without_suffix(text, span) for span in spans]
    return Example(text, file.language, file.source, spans=tuple(spans))


def without_suffix(text: str, span: Span) -> Span:
    """A Turkish name without the case ending after its apostrophe (Ankara'daki): the ending is not part of the name."""
    start, end, kind = span
    return start, start + len(TURKISH_SUFFIX.sub("", text[start:end])), kind


def clean(text: str) -> str:
    r"""The model text of a source's text: literal \uXXXX escapes and HTML entities (UMSAB) decoded, then normalised."""
    decoded = ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    # Escaped surrogate pairs become one character; a lone half is dropped.
    return normalise(unescape(decoded.encode("utf-16", "surrogatepass").decode("utf-16", "ignore"))).text


def hide_mentions(words: list[str], tags: list[str]) -> tuple[list[str], list[str]]:
    """Mentions and links as the worker shows them to the model; a tag on one is not learned.

    Tweets tokenised as "@", "name" hold one mention.
    """
    shown: list[str] = []
    kept: list[str] = []
    for word, tag in zip(words, tags, strict=True):
        if shown and shown[-1] == "@" and word[:1].isalnum():
            shown[-1] = "@user"
            kept[-1] = "O" if kept[-1] == tag == "O" else "B-MISC"
            continue
        seen = normalise(word).text or word
        shown.append(seen)
        kept.append("B-MISC" if seen in ("@user", "http") and seen != word and tag != "O" else tag)
    return shown, kept


def find_words(text: str, words: list[str]) -> list[tuple[int, int]]:
    """Where each word stands in the text, left to right."""
    places, at = [], 0
    for word in words:
        start = text.index(word, at)
        at = start + len(word)
        places.append((start, at))
    return places


def word_spans(places: list[tuple[int, int]], tags: list[str]) -> list[Span]:
    """Spans of IOB2 tags over placed words; an I- without its B- opens a span."""
    spans: list[Span] = []
    inside = ""
    for (start, end), tag in zip(places, tags, strict=True):
        prefix, _, kind = tag.partition("-")
        if prefix == "I" and kind == inside:
            spans[-1] = (spans[-1][0], end, kind)
        elif kind:
            spans.append((start, end, kind))
        inside = kind
    return spans


def token_tags(encoding: Encoding, spans: tuple[Span, ...]) -> list[int]:
    """One column of TAG_LABELS for each token; IGNORED for special tokens and inside spans of other types (MISC).

    A token may begin with the space before its word. A bare word-start piece is O unless it stands inside a span: at
    the start of the text it has the first character's offsets, and must not begin an entity beside the first token.
    """
    tags = []
    for piece, (start, end), special in zip(
        encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True
    ):
        inner = piece == WORD_START
        at = start if inner or not piece.startswith(WORD_START) or start == 0 else start + 1
        kind, first = next(
            ((kind, at <= s) for s, e, kind in spans if (s < at if inner else s < end) and at < e), ("", False)
        )
        if special or (kind and kind not in SPAN_TYPES):
            tags.append(IGNORED)
        else:
            tags.append(TAG_LABELS.index(f"{'B' if first else 'I'}-{kind}") if kind else 0)
    return tags
