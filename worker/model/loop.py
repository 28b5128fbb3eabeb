"""Training under a time budget: steps until it is spent, with regular lines of figures and saves."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch.optim import Optimizer

SAVE_EVERY_S = 300.0
LOG_EVERY_STEPS = 100
Progress = Callable[[int, int], None]
Clock = Callable[[], float]
Item = TypeVar("Item")


@dataclass
class Position:
    """Where a run stands; saved with the weights."""

    step: int = 0
    elapsed_s: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)  # summed since the last log line
    examples: int = 0

    def add(self, losses: dict[str, float], examples: int) -> None:
        """Count one more step."""
        self.step += 1
        self.examples += examples
        for name, loss in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss


class Trainable(Protocol):
    """What the loop drives."""

    budget_s: float
    position: Position

    def step(self) -> None:
        """One optimiser step; counts itself in `position`."""

    def log(self) -> None:
        """Write the mean losses since the last call."""

    def ended(self) -> bool:
        """Whether to stop before the budget is spent."""

    def save(self) -> None:
        """Write what a later run resumes from."""


def train(run: Trainable, clock: Clock = time.monotonic, progress: Progress | None = None) -> None:
    """Steps until the budget is spent, then a last save."""
    last, saved = clock(), run.position.elapsed_s
    while run.position.elapsed_s < run.budget_s and not run.ended():
        run.step()
        now = clock()
        run.position.elapsed_s, last = run.position.elapsed_s + now - last, now
        if run.position.step % LOG_EVERY_STEPS == 0:
            run.log()
        if progress:
            progress(min(int(run.position.elapsed_s), int(run.budget_s)), int(run.budget_s))
        if run.position.elapsed_s - saved >= SAVE_EVERY_S:
            run.save()
            saved = run.position.elapsed_s
    run.save()


def learning_rate_factor(spent: float, warm_up: float) -> float:
    """Linear rise over the first `warm_up` of the budget, then linear fall to 0 at its end.

    By the fraction of time spent, not of steps: a shared machine's speed varies, the end must not.
    """
    if spent < warm_up:
        return max(spent / warm_up, 0.02)
    return max(0.0, (1.0 - spent) / (1.0 - warm_up))


def set_rates(optimiser: Optimizer, spent: float, warm_up: float) -> None:
    """Give each group of an optimiser its peak rate times `learning_rate_factor`."""
    factor = learning_rate_factor(spent, warm_up)
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * factor


def batches_from(at: int, size: int, pool: Callable[[int], Sequence[Item]]) -> Iterator[Item]:
    """Every batch from number `at` on; pools of `size` batches are numbered, so nothing else needs to be remembered."""
    while True:
        number, done = divmod(at, size)
        yield from pool(number)[done:]
        at = (number + 1) * size


class RunLogError(ValueError):
    """A run's train.jsonl that cannot be read; the message says why."""


@dataclass(frozen=True)
class LogLine:
    """One line of a run's train.jsonl."""

    step: int
    examples: int
    losses: dict[str, float]  # of each task, the mean per example since the line before


def read_lines(file: Path) -> list[LogLine]:
    """The lines of a run's train.jsonl, at least 1; what a resumed run wrote again counts once.

    Raises:
        RunLogError: the file is missing, empty, or holds something else.
    """
    found: list[LogLine] = []
    try:
        for raw in map(json.loads, file.read_text().splitlines()):
            line = LogLine(raw["step"], raw["examples"], raw["loss"])
            while found and found[-1].step >= line.step:
                found.pop()
            found.append(line)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunLogError(f"{file} is not the log of a run ({error!r}); give the --out of `fine-tune`") from error
    if not found:
        raise RunLogError(f"{file} is empty: the run ended before its first {LOG_EVERY_STEPS} steps")
    return found


def write_line(file: Path, position: Position, means: dict[str, float]) -> None:
    """One more line of a run's train.jsonl."""
    line: dict[str, Any] = {
        "step": position.step,
        "elapsed_s": round(position.elapsed_s),
        "examples": position.examples,
        "loss": means,
    }
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
