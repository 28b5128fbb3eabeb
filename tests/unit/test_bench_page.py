"""docs/performance.md and the JSON line, from made-up figures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.bare_triton import Setting
from bench.null import NullFigures
from bench.page import NULL_NAMES, Report, real_rows, render, summary
from bench.real import RealFigures
from bench.stacks import Profile, read_stacks

FAST, SLOW = Setting(8, 2), Setting(1, 4)
REAL = RealFigures(
    posts=2400,
    grid={FAST: 190.0, SLOW: 180.0},
    bare={SLOW: [300.0, 150.0, 140.0], FAST: [200.0, 200.0, 100.0]},
    published=[190.0, 180.0, 90.0],
    applied=[180.0, 170.0, 80.0],
)
NULL = NullFigures(24_000, {name: [1000.0, 2000.0, 3000.0] for name in NULL_NAMES})
PROFILE = Profile([("MainThread", 1.0)], [("Faust", 0.75), ("other", 0.25)], [("f (worker/x.py)", 0.5)])
REPORT = Report({"processor": "a cpu"}, "analyzer:1+abc, 40 MB", 3, 600.0, REAL, NULL, PROFILE)

STACKS = """\
thread (7): MainThread;Worker.execute_from_commandline (mode/worker.py:264) 500
thread (7): MainThread;agent (worker/stream/build.py:90);Stream.events (faust/streams.py:3) 30
thread (8): enrich_0;_worker (concurrent/futures/thread.py:81) 100
thread (8): enrich_0;Preparer.prepare_many (worker/analysis/prepare.py:90);encode (tokenizers/__init__.py:1) 6
thread (8): enrich_0;Preparer.prepare_many (worker/analysis/prepare.py:91);normalise (worker/text/normalise.py:9) 4
"""


def test_the_reference_is_the_best_setting_of_the_same_run() -> None:
    """The setting with the best median is what ratios are taken against, repeat by repeat."""
    rows = real_rows(REAL)
    assert rows["bare_triton"].rate.median == 200
    assert rows["bare_triton"].ratio is None
    published = rows["path_published"].ratio
    assert published is not None
    assert (published.minimum, published.median, published.maximum) == (0.9, 0.9, 0.95)


def test_the_summary_is_one_json_object_with_every_contender() -> None:
    """It survives JSON, and each part names its contenders with minimum, median and maximum."""
    found = json.loads(json.dumps(summary(REPORT)))
    assert found["real_model"]["path_published"]["ratio"]["median"] == 0.9
    assert found["real_model"]["grid_posts_per_s"] == {"8x2": 190.0, "1x4": 180.0}
    assert set(NULL_NAMES) < set(found["null_model"])
    assert found["null_model"]["enrich"]["posts_per_s"] == {"minimum": 1000.0, "median": 2000.0, "maximum": 3000.0}


def test_the_page_says_everything() -> None:
    """Machine, model, each contender with its figures, and where the time goes."""
    page = render(REPORT)
    for words in ("a cpu", "analyzer:1+abc", "| 90 | 180 | 190 | 0.90 (0.90 to 0.95) |", "Faust | 75.0%"):
        assert words in page
    for name in NULL_NAMES.values():
        assert f"| {name} | 1,000 | 2,000 | 3,000 |" in page
    assert "{" not in page


def test_parts_left_out_leave_no_trace() -> None:
    """A run of one part reports that part."""
    report = replace(REPORT, real=None, profile=None)
    assert "real_model" not in summary(report)
    assert "profile" not in summary(report)
    assert "real model" not in render(report)


def test_a_missing_profile_is_said() -> None:
    """A machine that forbids tracing still gets its page."""
    report = replace(REPORT, profile=Profile([], [], [], "py-spy failed: Permission denied"))
    assert "py-spy failed: Permission denied." in render(report)


def test_samples_count_where_the_innermost_known_frame_lies() -> None:
    """Waiting threads are left out, callers do not count twice, and what is ours is summed up by function."""
    profile = read_stacks(STACKS.splitlines())
    assert dict(profile.threads) == pytest.approx({"MainThread": 0.75, "enrich_0": 0.25})
    assert dict(profile.areas) == pytest.approx(
        {"Faust": 0.75, "tokenizing and windows": 0.15, "normalising text": 0.1}
    )
    functions = dict(profile.functions)
    assert functions["Preparer.prepare_many (worker/analysis/prepare.py)"] == pytest.approx(0.25)


def test_a_profile_without_samples_is_empty() -> None:
    """A worker that only waited divides by nothing."""
    assert read_stacks([]) == Profile([], [], [])
