"""Which examples a step sees: tasks by share, languages by temperature, sources by weight, labels evened out."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

from worker.model.augment import Change, make_change
from worker.model.data import ALIASES, NEUTRAL, DataError, DataFile, Example, held_out, read_examples
from worker.model.lexica import make_lexica
from worker.model.pairs import pair_up
from worker.model.recipe import Recipe, Source
from worker.model.topics import TopicTable
from worker.model.trusted_rows import trusted

LANGUAGE_TEMPERATURE = 0.3
ROWS_TEMPERATURE = 0.5
POOL_BATCHES = 32  # batches sorted by length together: enough that padding is small
MAX_ROWS = 20_000  # of one file; more would never be seen in a run of hours
Progress = Callable[[int, int], None]


class NoDataError(ValueError):
    """A source of the recipe has no file below the data directory, or a task no row that can be used."""


@dataclass(frozen=True)
class Mixture:
    """Groups of examples (one task, language, source and sentiment label each) with the chance of drawing from each."""

    groups: tuple[tuple[Example, ...], ...]
    cumulative: tuple[float, ...]
    seed: int
    change: Change | None = None  # the recipe's augmentation
    pairs: float = 0.0  # the recipe's chance of joining two posts

    def pool(self, number: int, size: int) -> list[Example]:
        """`size` examples; the same for the same number, so that a resumed run goes on where it stopped."""
        rng = random.Random(f"{self.seed}/{number}")  # noqa: S311 - repeatable on purpose
        drawn = [rng.choice(group) for group in rng.choices(self.groups, cum_weights=self.cumulative, k=size)]
        changed = [self.change(example, rng) for example in drawn] if self.change else drawn
        return pair_up(changed, self.pairs, rng) if self.pairs else changed


def load_mixture(recipe: Recipe, data: Path, topics: TopicTable, progress: Progress | None = None) -> Mixture:
    """Read every source of the recipe; NoDataError when one has no file or a task no row."""
    jobs = [(task, source) for task, part in recipe.tasks().items() for source in part.sources]
    groups: dict[tuple[str, str, str, int], list[Example]] = defaultdict(list)
    weights: dict[tuple[str, str, str, int], float] = {}
    for done, (task, source) in enumerate(jobs, 1):
        for example in source_examples(data, task, source, recipe, topics):
            key = (task, example.language, source.name, -1 if example.sentiment is None else example.sentiment)
            groups[key].append(example)
            weights[key] = source.weight
        if progress:
            progress(done, len(jobs))
    if empty := sorted(recipe.tasks().keys() - {task for task, *_ in groups}):
        raise NoDataError(
            f"{data} has no usable row for {', '.join(empty)}: empty files, or labels that are not mapped"
        )
    chances = _chances(recipe, {key: (len(rows), weights[key]) for key, rows in groups.items()})
    cumulative = tuple(accumulate(chances[key] for key in groups))
    change = make_change(recipe.options, make_lexica(chain.from_iterable(groups.values())))
    return Mixture(tuple(map(tuple, groups.values())), cumulative, recipe.seed, change, recipe.options.pairs)


def source_examples(data: Path, task: str, source: Source, recipe: Recipe, topics: TopicTable) -> Iterator[Example]:
    """The training rows of one source in the recipe's languages."""
    paths = sorted((data / task / source.name).glob(f"*.{source.split}.jsonl.xz"))
    files = [trusted(DataFile(path, task)) for path in paths]
    if not files:
        raise NoDataError(
            f"{data / task / source.name} has no *.{source.split}.jsonl.xz; give the data directory with --data"
        )
    wanted = set(source.languages or recipe.languages)
    for file in files:
        if file.language not in wanted or (file.path.name.split(".")[0] in ALIASES and source.languages):
            continue
        rows = 0
        for example in read_examples(file, topics):
            if source.split == "dev" and held_out(example.text):
                continue
            if source.two_class and example.sentiment == NEUTRAL:
                raise DataError(f"{file.path} has neutral rows, but the recipe calls {source.name} two_class")
            yield example
            rows += 1
            if rows == MAX_ROWS:
                break


def _chances(
    recipe: Recipe, sizes: dict[tuple[str, str, str, int], tuple[int, float]]
) -> dict[tuple[str, str, str, int], float]:
    """P(task) * P(language | task) * P(source | language) * P(label | source), each normalised."""
    language_rows: dict[tuple[str, str], float] = defaultdict(float)
    source_rows: dict[tuple[str, str, str], float] = defaultdict(float)
    label_mass: dict[tuple[str, str, str], float] = defaultdict(float)
    source_weight: dict[tuple[str, str, str], float] = {}
    for (task, language, source, _), (rows, weight) in sizes.items():
        language_rows[task, language] += rows * weight
        source_rows[task, language, source] += rows
        label_mass[task, language, source] += rows**ROWS_TEMPERATURE
        source_weight[task, language, source] = weight
    source_mass = {key: source_weight[key] * rows**ROWS_TEMPERATURE for key, rows in source_rows.items()}
    language_mass = {key: recipe.languages[key[1]] * rows**LANGUAGE_TEMPERATURE for key, rows in language_rows.items()}
    task_total: dict[str, float] = defaultdict(float)
    language_total: dict[tuple[str, str], float] = defaultdict(float)
    for (task, _), mass in language_mass.items():
        task_total[task] += mass
    for (task, language, _), mass in source_mass.items():
        language_total[task, language] += mass
    chances = {}
    for key, (rows, _) in sizes.items():
        task, language, source, _label = key
        chance = recipe.tasks()[task].share * language_mass[task, language] / task_total[task]
        chance *= source_mass[task, language, source] / language_total[task, language]
        chances[key] = chance * rows**ROWS_TEMPERATURE / label_mass[task, language, source]
    return chances
