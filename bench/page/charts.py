"""Pictures of the page: the contenders' rates as bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from bench.tables import Row

OURS, THEIRS = "#08519c", "#b0b0b0"
NAME_CHARS = 46
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "polyvox", "font.size": 9}
"""Text stays text, and the same figures make the same file."""


def save(drawing: Drawing, path: Path) -> None:
    """Write it as SVG, without a date."""
    drawing.savefig(path, format="svg", metadata={"Date": None})


def draw_rates(path: Path, rows: Mapping[str, Row], *, logarithmic: bool) -> None:
    """Median rates with their extremes, the fastest on top; ours in blue."""
    ranked = sorted(rows.values(), key=lambda row: row.posts_per_s.median)
    medians = [row.posts_per_s.median for row in ranked]
    below = [row.posts_per_s.median - row.posts_per_s.minimum for row in ranked]
    above = [row.posts_per_s.maximum - row.posts_per_s.median for row in ranked]
    with mpl.rc_context(STYLE):
        drawing = Drawing(figsize=(8, 0.9 + 0.38 * len(ranked)), layout="constrained")
        axes = drawing.subplots()
        bars = axes.barh(
            range(len(ranked)),
            medians,
            tick_label=[fill(row.name.replace("`", ""), NAME_CHARS) for row in ranked],
            xerr=(below, above),
            color=[OURS if row.name.startswith("polyvox") else THEIRS for row in ranked],
            ecolor="#444444",
            capsize=2,
            height=0.65,
            log=logarithmic,
        )
        axes.bar_label(bars, [f"{each:,.0f}" if each >= 10 else f"{each:.1f}" for each in medians], padding=4)
        axes.margins(x=0.12)
        axes.set_xlabel("posts/s, median with minimum and maximum" + (" (logarithmic)" if logarithmic else ""))
        axes.spines[["top", "right"]].set_visible(False)
        save(drawing, path)
