"""Rows whose labels do not follow their texts are neither learned from nor measured with."""

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
from worker.model.data import DataFile, read_labelled
from worker.model.files import evaluation_files
from worker.model.recipe import Source, read_recipe
from worker.model.sampling import source_examples
from worker.model.topics import read_table
from worker.model.trusted_rows import TABLE, trusted

pytestmark = pytest.mark.slow
RECIPE = read_recipe(Path(TABLE).with_name("analyzer.toml"))


def romanised_hindi(data: Path, split: str, rows: int) -> Path:
    """A file of rows that hold their own number."""
    path = data / "sentiment" / "umsab" / f"hi-Latn.{split}.jsonl.xz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt") as lines:
        lines.writelines(json.dumps({"text": f"row {row}", "label": "neutral"}) + "\n" for row in range(rows))
    return path


def test_training_and_measuring_use_trusted_rows_apart_from_each_other(tmp_path):
    """Rows 900 to 1529 are learned from, 1530 to 1829 measured with, and the dev split by neither."""
    romanised_hindi(tmp_path, "train", 1830)
    dev = romanised_hindi(tmp_path, "dev", 324)
    recipe = replace(RECIPE, languages={"hi-Latn": 1.0})
    learned = source_examples(tmp_path, "sentiment", Source("umsab", 1.0), recipe, read_table())
    assert [example.text for example in learned] == [f"row {row}" for row in range(900, 1530)]
    (file,) = evaluation_files("sentiment", [tmp_path], recipe)
    assert [example.text for example in read_labelled(file, read_table())] == [
        f"row {row}" for row in range(1530, 1830)
    ]
    (named,) = evaluation_files("sentiment", [dev], recipe)
    assert len(list(read_labelled(named, read_table()))) == 324, "a file that is named is read whole"


@pytest.mark.parametrize(
    "name", ["umsab/fr.dev.jsonl.xz", "nobody/hi-Latn.dev.jsonl.xz", "umsab/hi-Latn.test.jsonl.xz"]
)
def test_other_files_are_used_whole(tmp_path, name):
    """Another language, source or split has all of its rows."""
    file = DataFile(tmp_path / name, "sentiment")
    assert trusted(file) == file
