"""Reports as a folder of Markdown and PNG; each file is written whole, beside and then renamed."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from worker.model.evaluate import MAIN_METRIC, Report
from worker.model.loop import LogLine
from worker.model.reliability import THRESHOLDS
from worker.model.replacing import write_whole
from worker.model.tables import mean_coverage, pooled_bins
from worker.model.transfer import Matrix

DPI = 130


class PicturesError(ValueError):
    """The folder cannot be written; the message says why."""


def open_folder(folder: Path) -> Path:
    """Make `folder`, before an evaluation takes its time; PicturesError when it cannot be one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PicturesError(f"{folder}: cannot be made a folder ({error.strerror}); give another") from error
    return folder


def write_report(folder: Path, report: Report) -> Path:
    """Write `<task>.md` and its pictures; returns the Markdown file."""
    task = report.task
    drawings = {f"{task}-languages.png": languages(report)}
    if report.reliability:
        drawings |= {f"{task}-reliability.png": reliability(report), f"{task}-coverage.png": coverage(report)}
    text = f"# {task}\n\n{report.to_markdown()}\n\n{report.details()}"
    return _write(folder, f"{task}.md", text, drawings)


def write_matrix(folder: Path, matrix: Matrix) -> Path:
    """Write `<task>-transfer.md` and its heat map; returns the Markdown file."""
    name = f"{matrix.task}-transfer"
    text = f"# {matrix.task}: trained on one, tested on another\n\n{matrix.to_markdown()}"
    return _write(folder, f"{name}.md", text, {f"{name}.png": heat_map(matrix)})


def languages(report: Report) -> Figure:
    """One bar for each language, the best on top."""
    main = MAIN_METRIC[report.task]
    ordered = sorted(report.per_language, key=lambda language: report.per_language[language][main])
    figure, axes = _figure(6.0, 1.2 + 0.22 * len(ordered))
    bars = axes.barh(ordered, [100 * report.per_language[language][main] for language in ordered])
    axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    axes.axvline(100 * float(report.metrics[main]), color="black", linewidth=1, linestyle="--")
    axes.set(xlim=(0, 105), xlabel=f"{main} in hundredths; dashed: mean over languages", title=report.task)
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.01)
    return figure


def reliability(report: Report) -> Figure:
    """Accuracy against confidence in ten bins, all languages' rows together, and how many rows each bin holds."""
    bars = [each for each in pooled_bins([found.bins for found in report.reliability.values()]) if each.rows]
    figure, axes = _figure(5.0, 5.0)
    total = sum(each.rows for each in bars)
    axes.bar([each.low for each in bars], [each.accuracy for each in bars], 0.1, align="edge", edgecolor="white")
    for each in bars:
        axes.text(each.low + 0.05, 0.01, f"{each.rows / total:.0%}", ha="center", fontsize=7, color="white")
    axes.plot((0, 1), (0, 1), color="black", linewidth=1, linestyle="--")
    axes.plot([each.confidence for each in bars], [each.accuracy for each in bars], "o", color="black", markersize=3)
    error = sum(each.rows * abs(each.accuracy - each.confidence) for each in bars) / total
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    axes.set_title(f"{report.task}: {total} rows of all languages, ECE {error:.3f}", fontsize=9)
    return figure


def coverage(report: Report) -> Figure:
    """How accurate the answers left are, by how many are left; a thin line for each language, a thick one for all."""
    figure, axes = _figure(5.0, 4.0)
    for points in report.coverage.values():
        left = [(point.coverage, point.accuracy) for point in points if point.accuracy is not None]
        axes.plot(
            [share for share, _ in left], [right for _, right in left], color="tab:blue", alpha=0.3, linewidth=0.7
        )
    means = [point for point in mean_coverage(report.coverage) if point.accuracy is not None]
    axes.plot([p.coverage for p in means], [p.accuracy or 0.0 for p in means], "o-", color="black", markersize=3)
    axes.set(xlim=(0, 1.02), xlabel="answered", ylabel="accuracy of these")
    axes.set_title(f"{report.task}: abstaining below {THRESHOLDS[0]:g} to {THRESHOLDS[-1]:g}", fontsize=9)
    return figure


def curves(lines: Sequence[LogLine]) -> bytes:
    """A run's losses as PNG, one panel a task, over the examples seen."""
    tasks = list(lines[-1].losses)
    figure = Figure((2.2 * len(tasks), 2.0), layout="constrained")
    seen = [line.examples / 1000 for line in lines]
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        axes.plot(seen, [line.losses[task] for line in lines], color="tab:blue", linewidth=1)
        axes.set_title(task, fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("examples, thousands", fontsize=8)
    figure.supylabel("mean loss", fontsize=8)
    return _png(figure)


def heat_map(matrix: Matrix) -> Figure:
    """The matrix in hundredths, a row for each checkpoint."""
    width, height = len(matrix.tested_on), len(matrix.trained_on)
    figure, axes = _figure(2.0 + 0.45 * width, 1.5 + 0.4 * height)
    axes.imshow(matrix.scores, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(width), matrix.tested_on, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(height), matrix.trained_on, fontsize=7)
    for row, scores in enumerate(matrix.scores):
        for column, score in enumerate(scores):
            shade = "white" if score < 0.6 else "black"
            axes.text(column, row, f"{100 * score:.0f}", ha="center", va="center", fontsize=7, color=shade)
    axes.set(xlabel="tested on", ylabel="trained on", title=f"{matrix.task}, {matrix.metric}")
    return figure


def _figure(width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    # A Figure of its own draws with Agg: no display, no state shared with a notebook's pyplot.
    figure = Figure((width_inches, height_inches), layout="constrained")
    return figure, figure.add_subplot()


def _write(folder: Path, name: str, text: str, drawings: dict[str, Figure]) -> Path:
    """All is drawn before anything is written; the Markdown comes last, so its pictures are there."""
    pages = {picture: _png(figure) for picture, figure in drawings.items()}
    links = "\n".join(f"![{Path(picture).stem}]({picture})" for picture in drawings)
    pages[name] = f"{text}\n\n{links}\n".encode()
    for target, content in pages.items():
        write_whole(folder / target, content)
    return folder / name


def _png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()
