"""docs/performance.md and the JSON line, from made-up figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.jobs import Setting, Split
from bench.live import Burst, Latency, LiveFigures, burst_of, latency_of
from bench.measure import Measured
from bench.null import NullFigures
from bench.page import Report, draw, render, summary
from bench.page.models import COPIES, OWN_WORK, POLYVOX, RIVALS, real_rows
from bench.real import RealFigures
from bench.stacks import Profile, read_stacks
from bench.targets import targets
from bench.traffic import Seen
from bench.tune_triton import ASKED, SHAPES, SHIPPED, kept_section, section, with_shape
from worker.settings import REPOSITORY


def runs(*rates: float, cpu_s: float = 1.0) -> list[Measured]:
    return [Measured(rate, cpu_s, 5.0) for rate in rates]


FAST, SLOW = Setting(8, 2), Setting(1, 4)
REAL = RealFigures(
    posts=2400,
    processors=2,
    grid={FAST: 190.0, SLOW: 180.0},
    splits={Split(8, 2, 1): 300.0, Split(8, 1, 2): 200.0},
    runs={
        "path_published": runs(190.0, 180.0, 90.0, cpu_s=1.5),
        "path_applied": runs(180.0, 170.0, 80.0),
        "two_workers": runs(190.0, 180.0, 90.0),
        "bare_triton_1x4": runs(300.0, 150.0, 140.0),
        "bare_triton_8x2": runs(200.0, 200.0, 100.0),
        "alone": runs(200.0, 200.0, 100.0),
        "faststream": runs(100.0, 100.0, 50.0, cpu_s=3.0),
        "quix": runs(50.0, 50.0, 50.0, cpu_s=2.0),
        "naive": runs(20.0, 20.0, 20.0, cpu_s=9.0),
        "naive_base": runs(5.0, 5.0, 5.0, cpu_s=99.0),
    },
    padded_tokens=[1.02, 1.03, 1.2],
    start_s=[2.0, 2.5, 9.0],
)
NULL = NullFigures(24_000, {name: runs(1000.0, 2000.0, 3000.0) for name in COPIES | OWN_WORK | POLYVOX}, [1.5])
LIVE = LiveFigures(50.0, Latency(6000, 140.0, 60.0, 90.0, 200.0), Burst(14_000, 1400.0, 12_000, 42.0, 0, 3))
PROFILE = Profile([("MainThread", 1.0)], [("Faust", 0.75), ("other", 0.25)], [("f (worker/x.py)", 0.5)])
REPORT = Report(
    {"processor": "a cpu"}, "analyzer:1+abc, 40 MB", 3, 600.0, REAL, NULL, LIVE, [0.2, 0.3, 0.25], PROFILE, ""
)

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
    assert rows["bare_triton_8x2"].posts_per_s.median == 200
    assert rows["bare_triton_8x2"].ratio is None
    published = rows["path_published"].ratio
    assert published is not None
    assert (published.minimum, published.median, published.maximum) == (0.9, 0.9, 0.95)


def test_each_figure_stands_beside_what_is_wanted() -> None:
    """Ratios of the same run, medians, the least of the rivals' processor time; what did not run meets nothing."""
    found = {target.name: target for target in targets(REPORT)}
    ratio = found["real model / best bare Triton"]
    assert (ratio.found, ratio.wanted, ratio.met) == (0.9, 0.95, False)
    assert found["real model / FastStream"].met
    assert found["worker's CPU / least of the Python rivals'"].found == 0.75
    assert found["tokens sent for each real one"].found == 1.03
    assert found["p99 at half load / one batch"].found == 4.0
    assert found["seconds of `polyvox --help`"].met
    assert found["whole path with the null model / enrich stage alone"].found == 1.0
    assert (found["real model / Flink as released"].found, found["real model / Flink as released"].met) == (None, False)


def test_the_summary_is_one_json_object_with_every_contender() -> None:
    """It survives JSON, and each part names its contenders with rate, ratio and processor time."""
    found = json.loads(json.dumps(summary(REPORT)))
    assert found["real_model"]["path_published"]["ratio"]["median"] == 0.9
    assert found["real_model"]["grid_posts_per_s"]["bare_triton_8x2"] == 190.0
    assert (COPIES | OWN_WORK | POLYVOX).keys() < found["null_model"].keys()
    assert found["null_model"]["enrich"]["posts_per_s"] == {"minimum": 1000.0, "median": 2000.0, "maximum": 3000.0}
    assert found["real_model"]["faststream"]["cpu_s_per_1000"]["median"] == 3.0
    assert found["targets"]["posts lost in a burst"] == {"wanted": 0, "at_least": False, "found": 0, "met": True}


def test_the_page_says_everything() -> None:
    """Machine, model, targets, each contender with its figures, latency, burst, and where the time goes."""
    page = render(REPORT)
    for words in ("a cpu", "analyzer:1+abc", "| 90 | 180 | 190 | 0.90 (0.90 to 0.95) | 1.50 | 5.00 |", "Faust | 75.0%"):
        assert words in page
    for name in (COPIES | OWN_WORK | POLYVOX).values():
        assert f"| {name} | 1,000 | 2,000 | 3,000 |" in page
    for name in set(RIVALS) - {"flink"}:
        assert RIVALS[name] in page
    assert "| polyvox, whole path | 11.11 | 1.50 | 5.00 | 4.61 |" in page
    assert "| 99 of 100 | 200 | 4.0 |" in page
    assert "0 posts were lost" in page
    assert "| not measured |" in page
    assert "no run of it exists here" in page
    assert "1.00 s of a processor for 1,000 posts when nothing else happens, 2,000 posts/s" in " ".join(page.split())
    assert "{" not in page


def test_the_page_shows_every_contender_in_a_picture(tmp_path: Path) -> None:
    """Each picture that the page names is drawn, with each contender's name and rate; twice gives the same file."""
    draw(REPORT, tmp_path)
    page, pictures = render(REPORT), sorted(tmp_path.iterdir())
    assert [f"]({each.name})" in page for each in pictures] == [True, True]
    drawn = [each.read_text() for each in pictures]
    assert "polyvox, whole path, until in enriched" in drawn[0]
    assert ">5.0<" in drawn[0]
    assert drawn[1].count(">2,000<") == len(COPIES | OWN_WORK | POLYVOX)
    draw(REPORT, tmp_path)
    assert [each.read_text() for each in pictures] == drawn


def test_flink_stands_in_the_table_with_what_was_bridged() -> None:
    """With runs of it the page has its row, its share of the posts and the bridge, and the target has its ratio."""
    report = replace(REPORT, real=replace(REAL, runs=REAL.runs | {"flink": runs(60.0, 60.0, 60.0)}))
    page = render(report)
    assert f"| {RIVALS['flink']} | 60.0 | 60.0 | 60.0 |" in page
    assert "600 (flink)" in page
    assert "bench/contenders/flink/Bridge.java" in page
    assert "no run of it exists here" not in page
    found = {target.name: target for target in targets(report)}["real model / Flink as released"]
    assert (found.found, found.wanted, found.met) == (3.0, 2.0, True)


def test_parts_left_out_leave_no_trace() -> None:
    """A run of one part reports that part."""
    report = replace(REPORT, real=None, live=None, profile=None)
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


def test_latency_is_that_of_the_posts_after_the_warm_up() -> None:
    """The first seconds do not count, and neither does a post that never came."""
    seen = Seen(
        {b"%d" % n: float(n) for n in range(100)}, {b"%d" % n: n + (5.0 if n < 50 else 0.25) for n in range(99)}
    )
    latency = latency_of(seen, 50.0)
    assert (latency.posts, latency.p50_ms, latency.p99_ms) == (49, 250.0, 250.0)


def test_a_burst_counts_what_was_lost_and_how_much_waited() -> None:
    """Posts of the second stretch; one that was never seen is lost."""
    sent = {b"%d" % n: 11.0 + n / 100 for n in range(200)}
    seen = Seen(sent, dict.fromkeys(list(sent)[:-1], 14.0), 2, [11.0, 13.0], 20.0)
    burst = burst_of(seen)
    assert (burst.posts, burst.most_waiting, burst.drained_s, burst.lost, burst.repeats) == (199, 200, 7.0, 1, 2)


def test_every_shape_of_triton_is_a_configuration_of_its_own() -> None:
    """Instances, threads and delay are in it, and the shipped shape changes nothing but the delay that is 0 anyway."""
    config = (REPOSITORY / "triton_models" / "analyzer" / "config.pbtxt").read_text()
    made = {with_shape(config, shape) for shape in SHAPES}
    assert len(made) == len(SHAPES)
    assert with_shape(config, SHIPPED).replace(" max_queue_delay_microseconds: 0", "") == config
    with pytest.raises(ValueError, match="count"):
        with_shape("", SHIPPED)


def test_the_tuning_table_outlives_a_new_page() -> None:
    """`make bench` keeps what the other program wrote, as the last section."""
    made = section({shape: [float(number)] * len(ASKED) for number, shape in enumerate(SHAPES)}, 400)
    page = render(replace(REPORT, tuning=made))
    assert kept_section(page) == made
    assert kept_section("# Performance") == ""
    assert "| **2** | **1** | **0 ms** |" in made
