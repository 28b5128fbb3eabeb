"""Raw text: one sentence or paragraph a line, drawn by language and source, alone or as a pair."""

import lzma
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

from worker.model.pretrain.recipe import PretrainRecipe, RawSource
from worker.model.sampling import ROWS_TEMPERATURE, NoDataError
from worker.text.normalise import normalise

Progress = Callable[[int, int], None]


class RawTextError(ValueError):
    """A raw file that cannot be used; the message holds the file and the reason."""


@dataclass(frozen=True)
class RawText:
    """The lines of one file, in their order, empty ones left out."""

    source: RawSource
    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Passage:
    """What one row of a batch holds: a text, or two of one language."""

    language: str
    first: str
    second: str | None = None
    follows: bool = False  # the second stands right behind the first in its source


@dataclass(frozen=True)
class RawMixture:
    """The texts with the chance of drawing from each."""

    texts: tuple[RawText, ...]
    cumulative: tuple[float, ...]
    pair_share: float
    seed: int

    def pool(self, number: int, size: int) -> list[Passage]:
        """`size` passages; the same for the same number, so that a resumed run goes on where it stopped."""
        rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - repeatable on purpose
        drawn = rng.choices(self.texts, cum_weights=self.cumulative, k=size)
        return [self._draw(text, rng) for text in drawn]

    def _draw(self, text: RawText, rng: random.Random) -> Passage:
        lines, at = text.lines, rng.randrange(len(text.lines))
        if len(lines) < 3 or not text.source.ordered or rng.random() >= self.pair_share:
            return Passage(text.language, _shown(lines[at]))
        at, follows = rng.randrange(len(lines) - 1), rng.random() < 0.5
        # The other line comes from the same file: across files the style would give the answer away.
        other = at + 1 if follows else _elsewhere(at, len(lines), rng)
        return Passage(text.language, _shown(lines[at]), _shown(lines[other]), follows)


def _elsewhere(at: int, size: int, rng: random.Random) -> int:
    """A line other than `at` and the one behind it."""
    other = rng.randrange(size - 2)
    return other if other < at else other + 2


def _shown(line: str) -> str:
    """The line as the worker shows a post to the model."""
    return normalise(line).text


def load_texts(recipe: PretrainRecipe, data: Path, progress: Progress | None = None) -> RawMixture:
    """Read every source of the recipe in its languages.

    Raises:
        NoDataError: a source has no file in any of the languages.
        RawTextError: a file is empty or cannot be read.
    """
    texts: list[RawText] = []
    for done, source in enumerate(recipe.sources, 1):
        found = list(_texts_of(source, recipe, data / "raw" / source.name))
        if not found:
            raise NoDataError(
                f"{data / 'raw' / source.name} has no <language>.txt.xz of the recipe's languages; give the data "
                "directory with --data, or take the source out of the recipe"
            )
        texts += found
        if progress:
            progress(done, len(recipe.sources))
    return RawMixture(tuple(texts), tuple(accumulate(_chances(texts, recipe))), recipe.pair_share, recipe.seed)


def _texts_of(source: RawSource, recipe: PretrainRecipe, folder: Path) -> Iterator[RawText]:
    for language in recipe.languages:
        path = folder / f"{language}.txt.xz"
        if path.is_file():
            yield RawText(source, language, read_lines(path, recipe.max_lines))


def read_lines(path: Path, max_lines: int) -> tuple[str, ...]:
    """The first lines of a .txt.xz file that hold text; RawTextError when there is none, or the file is damaged."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            found = tuple(islice((line.strip() for line in lines if any(map(str.isalnum, line))), max_lines))
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise RawTextError(f"{path} cannot be read ({error}); fetch it anew or take it away") from error
    if not found:
        raise RawTextError(f"{path} holds no text; take it away or fill it with one sentence a line")
    return found


def _chances(texts: Sequence[RawText], recipe: PretrainRecipe) -> list[float]:
    """P(language) * P(source | language): languages by temperature, sources by weight and, less than in step, size."""
    lines: dict[str, float] = defaultdict(float)
    mass: dict[str, float] = defaultdict(float)
    masses = [text.source.weight * len(text.lines) ** ROWS_TEMPERATURE for text in texts]
    for text, own in zip(texts, masses, strict=True):
        lines[text.language] += len(text.lines)
        mass[text.language] += own
    shares = {language: count**recipe.temperature for language, count in lines.items()}
    total = sum(shares.values())
    return [shares[text.language] / total * own / mass[text.language] for text, own in zip(texts, masses, strict=True)]
