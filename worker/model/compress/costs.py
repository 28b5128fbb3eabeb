"""What each step of a compression costs and gives: accuracy on dev files, size, and speed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from worker.analysis.bundle import Bundle
from worker.analysis.embedded import EmbeddedInference
from worker.errors import BadRecord
from worker.events import Analysis
from worker.model.compress.run import Stage
from worker.model.evaluate import MAIN_METRIC, Predict, evaluate_files
from worker.model.export import export
from worker.model.files import evaluation_files
from worker.model.onnx_linear import Precision
from worker.model.predictors import inference_predictor
from worker.model.recipe import TASKS, Recipe

TIMEOUT_S = 120.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Cost:
    """One step, as a file that onnxruntime runs on the CPU of this machine."""

    step: str
    precision: Precision
    sentiment: float  # mean macro-F1 over languages, 0 to 1
    topic: float  # mean accuracy
    ner: float  # mean entity F1
    size_bytes: int  # of the bundle, tokenizer included
    posts_per_s: float  # from text to labels, on two threads, of the dev rows

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def measure_costs(
    stages: Sequence[Stage], data: Path, recipe: Recipe, max_rows: int | None, progress: Progress | None = None
) -> Iterator[Cost]:
    """The cost of each stage in float32, and of the last one with its embeddings in 4 bits, then all of it in int8.

    Raises:
        EvaluationError: a task has no dev file below `data`.
        ModelInvalid: a stage loses too much as int8.
    """
    files = {task: evaluation_files(task, [data], recipe) for task in TASKS}
    last = stages[-1]
    rows: list[tuple[Stage, Precision]] = [(stage, "float32") for stage in stages]
    rows += [(Stage("4-bit embeddings", last.folder), "int4-embeddings"), (Stage("int8", last.folder), "int8")]
    for done, (stage, precision) in enumerate(rows, 1):
        with TemporaryDirectory() as folder:
            made = export(stage.folder, Path(folder) / "analyzer" / "1", "0.0.0", precision)
            asked = Timed(bundle_predictor(made.folder))
            scores = {
                task: float(evaluate_files(found, asked, max_rows, recipe.trained_on_dev()).metrics[MAIN_METRIC[task]])
                for task, found in files.items()
            }
        yield Cost(stage.name, precision, **scores, size_bytes=made.total_bytes, posts_per_s=round(asked.speed, 1))
        if progress:
            progress(done, len(rows))


def bundle_predictor(folder: Path) -> Predict:
    """Ask a bundle in this process."""
    bundle = Bundle.load(folder)
    return inference_predictor(bundle, lambda: EmbeddedInference(bundle, TIMEOUT_S))


class Timed:
    """A `Predict` that knows how fast it was."""

    def __init__(self, predict: Predict) -> None:
        self._predict, self._texts, self._spent_s = predict, 0, 0.0

    def __call__(self, texts: Sequence[str]) -> list[Analysis | BadRecord]:
        started = time.perf_counter()
        answers = self._predict(texts)
        self._spent_s += time.perf_counter() - started
        self._texts += len(texts)
        return answers

    @property
    def speed(self) -> float:
        """Texts a second."""
        return self._texts / self._spent_s if self._spent_s else 0.0
