"""A report's figures as Markdown tables."""

from collections.abc import Mapping, Sequence

from worker.model.reliability import Bin, CoveragePoint
from worker.model.scores import mean

Figures = Mapping[str, float | int]
ClassTable = Mapping[str, Figures]
FEW_CLASSES = 3


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    head = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


def figures_table(name: str, groups: Mapping[str, Figures]) -> str:
    """A row for each group; shares in hundredths, counts as they are, nothing where a group lacks the figure."""
    columns = list(dict.fromkeys(column for figures in groups.values() for column in figures))
    rows = [[group, *(_cell(figures.get(column)) for column in columns)] for group, figures in sorted(groups.items())]
    return table([name, *columns], rows)


def _cell(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{100 * value:.1f}"


def class_table(name: str, groups: Mapping[str, ClassTable]) -> str:
    """Precision/recall/F1 (support) of each group and class; "" for more classes than a page is wide."""
    classes = list(dict.fromkeys(label for found in groups.values() for label in found))
    if len(classes) > FEW_CLASSES:
        return ""
    rows = [
        [group, *(_class_cell(found.get(label, {})) for label in classes)] for group, found in sorted(groups.items())
    ]
    return table([name, *(f"{label} P/R/F1 (rows)" for label in classes)], rows)


def _class_cell(figures: Figures) -> str:
    if not figures:
        return ""
    shares = "/".join(f"{100 * figures[each]:.0f}" for each in ("precision", "recall", "f1"))
    return f"{shares} ({figures['support']})"


def coverage_table(groups: Mapping[str, Sequence[CoveragePoint]]) -> str:
    """A row for each threshold, as `mean_coverage`."""
    rows = [
        [
            f"{point.threshold:.2f}",
            f"{100 * point.coverage:.1f}",
            "" if point.accuracy is None else f"{100 * point.accuracy:.1f}",
        ]
        for point in mean_coverage(groups)
    ]
    return table(["abstain below", "answered", "accuracy of these"], rows)


def mean_coverage(groups: Mapping[str, Sequence[CoveragePoint]]) -> list[CoveragePoint]:
    """Means over the languages; the accuracy over those where an answer is left."""
    means = []
    for points in zip(*groups.values(), strict=True):
        accuracies = [point.accuracy for point in points if point.accuracy is not None]
        covered = mean([point.coverage for point in points])
        means.append(CoveragePoint(points[0].threshold, covered, mean(accuracies) if accuracies else None))
    return means


def pooled_bins(groups: Sequence[Sequence[Bin]]) -> list[Bin]:
    """The bins of all rows together."""
    pooled = []
    for each in zip(*groups, strict=True):
        rows = sum(found.rows for found in each)
        confidence, accuracy = (
            sum(found.rows * getattr(found, name) for found in each) / max(rows, 1)
            for name in ("confidence", "accuracy")
        )
        pooled.append(Bin(each[0].low, each[0].high, rows, confidence, accuracy))
    return pooled
