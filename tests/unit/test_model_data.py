"""Rows to examples to labels: what is laid where, what is not learned, and clear errors."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from worker.model.data import IGNORED, DataError, DataFile, clean, held_out, ner_example, read_examples, token_tags
from worker.model.detokenise import join_words
from worker.model.network import TAG_LABELS
from worker.model.topics import read_table

TOPICS = read_table()
OUT, B_PER, I_PER, B_ORG, I_ORG, B_LOC, I_LOC = range(7)


def row_file(tmp_path: Path, task: str, name: str, *lines: str) -> DataFile:
    """A file in the data directory's layout."""
    path = tmp_path / task / "source" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return DataFile(path, task)


def ner(tokens: list[str], tags: list[str], language: str = "en", **more):
    """The example of one NER row."""
    return ner_example(
        {"tokens": tokens, "tags": tags, **more}, DataFile(Path(f"x/{language}.train.jsonl"), "ner"), TOPICS
    )


def encode(text: str, *pieces: str):
    """Encode with a Unigram tokenizer of these pieces."""
    vocabulary = ["<s>", "</s>", "<unk>", *pieces]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in vocabulary], unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer.encode(text)


def test_tags_follow_the_pieces_of_a_word():
    """The first piece of a span begins it, the others are inside; ends are not learned."""
    encoding = encode("in New York", "▁in", "▁New", "▁Yo", "rk")
    assert token_tags(encoding, ((3, 11, "LOC"),)) == [IGNORED, OUT, B_LOC, I_LOC, I_LOC, IGNORED]


def test_misc_is_masked_not_outside():
    """MISC is annotated in only some sources: its tokens teach nothing, neither a type nor O."""
    encoding = encode("in New York", "▁in", "▁New", "▁Yo", "rk")
    assert token_tags(encoding, ((3, 11, "MISC"),)) == [IGNORED, OUT, IGNORED, IGNORED, IGNORED, IGNORED]


def test_the_bare_word_start_begins_no_entity():
    """The space piece that the tokenizer puts first has the first character's place; only the real piece gets B."""
    encoding = encode("東京に", "▁", "東", "京", "に")
    assert encoding.tokens[1] == "▁"
    assert token_tags(encoding, ((0, 2, "LOC"),)) == [IGNORED, OUT, B_LOC, I_LOC, OUT, IGNORED]


def test_tokens_are_joined_as_people_write():
    """Punctuation, quotes, brackets and clitics lose the tokenizer's spaces, and each word's place is right."""
    words = ["He", "said", ":", '"', "It", "'s", "l'", "eau", "(", "cold", ")", '"', "!!"]
    text, places = join_words(words, spaced=True)
    assert text == "He said: \"It's l'eau (cold)\"!!"
    assert [text[start:end] for start, end in places] == words


def test_unspaced_scripts_are_joined_without_spaces():
    """Chinese and Japanese tokens touch; Latin words among them do not."""
    assert join_words(["我", "用", "Apple", "Pay", "支付"], spaced=False)[0] == "我用Apple Pay支付"


def test_word_labels_become_character_spans():
    """IOB2 over words gives spans over the joined text; an I- of another type opens a span of its own."""
    example = ner(["Tim", "Cook", ",", "Apple"], ["B-PER", "I-PER", "O", "I-ORG"])
    assert [(example.text[start:end], kind) for start, end, kind in example.spans] == [
        ("Tim Cook", "PER"),
        ("Apple", "ORG"),
    ]


def test_given_text_and_spans_win_over_tokens():
    """Where a row carries text and exact spans (Korean particles), these are used."""
    example = ner(["삼성이", "샀다"], ["B-ORG", "O"], "ko", text="삼성이 샀다", spans=[[0, 2, "ORG"]])
    assert example.text[example.spans[0][0] : example.spans[0][1]] == "삼성"


def test_turkish_case_endings_are_not_part_of_a_name():
    """Ankara'daki is the name Ankara: the ending after the apostrophe is outside the span."""
    example = ner(["Ankara'daki", "ev"], ["B-LOC", "O"], "tr")
    assert [example.text[start:end] for start, end, _ in example.spans] == ["Ankara"]


def test_mentions_are_shown_as_the_worker_shows_them_and_not_learned():
    """A tweet's "@ name" becomes @user; a person tag on it is masked, since the model cannot see the name."""
    example = ner(["@", "barackobama", "met", "Merkel"], ["B-PER", "I-PER", "O", "B-PER"])
    assert example.text == "@user met Merkel"
    assert [kind for _, _, kind in example.spans] == ["MISC", "PER"]


def test_literal_escapes_are_decoded():
    """UMSAB's literal escapes become characters, surrogate pairs one emoji; entities and links are normalised."""
    assert clean("caf\\u00e9 \\ud83d\\ude00 &amp; @bob https://t.co/x") == "café 😀 & @user http"


def test_unmapped_topics_are_left_out(tmp_path):
    """A label that the table does not map is neither trained nor scored."""
    rows = [json.dumps({"text": "a", "label": label, "lang": "en"}) for label in ("religion", "sports")]
    path = tmp_path / "topic" / "masakhanews" / "en.dev.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(rows) + "\n")
    assert [example.text for example in read_examples(DataFile(path, "topic"), TOPICS)] == ["a"]


@pytest.mark.parametrize(
    ("task", "line", "reason"),
    [
        ("sentiment", "{not json", "not JSON"),
        ("sentiment", "[1]", "list instead of a JSON object"),
        ("sentiment", '{"text": "a"}', "label"),
        ("sentiment", '{"text": "a", "label": "angry"}', "ValueError"),
        ("ner", '{"tokens": ["a", "b"], "tags": ["O"]}', "2 tokens but 1 tags"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(tmp_path, task, line, reason):
    """A row that cannot be used stops the reading with its file, its line and the reason."""
    good = {"sentiment": '{"text": "a", "label": "neutral"}', "ner": '{"tokens": ["a"], "tags": ["O"]}'}[task]
    file = row_file(tmp_path, task, "en.train.jsonl", good, line)
    with pytest.raises(DataError, match=rf"en\.train\.jsonl:2: .*{reason}"):
        list(read_examples(file, TOPICS))


def test_the_held_out_part_is_fixed_and_small():
    """The same rows are held out everywhere, about 15 %."""
    share = sum(held_out(f"text {number}") for number in range(2000)) / 2000
    assert 0.12 < share < 0.18
    assert held_out("text 1") == held_out("text 1")


def test_tag_labels_are_those_of_the_bundle():
    """The network's columns are what the worker decodes."""
    bundle = pytest.importorskip("worker.analysis.bundle")
    assert TAG_LABELS == bundle.TAG_LABELS
