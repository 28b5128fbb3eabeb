"""docs/shifts.md, from the figures of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.machine import hardware
from bench.shifts.analysed import COPIED
from bench.shifts.coverage import REGIMES
from bench.shifts.delays import DROPS, HISTORY_DAYS
from bench.shifts.figures import Figure
from bench.shifts.real import POSTS
from bench.shifts.scenarios import ADWIN_KEYS, NAMES, RIVAL_KEYS, SCENARIO_KEYS
from bench.tables import markdown
from worker.opinion.shifts.control import MARGIN
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.rates import DESIGN_SHIFTS

VOLUMES = (200, 1000)
RIVALS = ("polyvox", "page_hinkley", "adwin", "fixed_threshold", "sigma_rule")
FIELD = {
    "page_hinkley_5_min": "PageHinkley",
    "page_hinkley_1_hour": "hourly",
    "fixed_threshold_5_min": "threshold",
    "fixed_threshold_1_hour": "hourly",
    "sigma_rule_5_min": "sigma rule",
    "sigma_rule_1_hour": "hourly",
    "adwin_5_min": "ADWIN",
}
TITLES = {
    "polyvox": "polyvox",
    "page_hinkley": "PageHinkley",
    "adwin": "ADWIN",
    "fixed_threshold": "threshold",
    "sigma_rule": "sigma rule",
}


def render(found: Mapping[str, Sequence[Figure]], seconds: float, seed: int) -> str:
    """The page."""
    by_name = {figure.name: figure for figures in found.values() for figure in figures}
    limits = Limits()
    return PAGE.format(
        seconds=seconds,
        seed=seed,
        processor=hardware(),
        missed=_missed(by_name),
        coverage=_coverage(by_name),
        rates=_rows([*found["independent_keys"], *found["keys_sharing_posts"]]),
        delays=_delays(by_name),
        faster=_faster(by_name),
        scenarios=_scenarios(by_name),
        decomposition=_rows(found["decomposition"]),
        real=_rows(found["real_posts"]),
        pool=by_name["real_posts.pool"].value,
        real_posts=POSTS,
        copied=COPIED,
        declared=limits.false_signals_per_key_day,
        warm_up_days=limits.warm_up_s // 86400,
        margin=MARGIN,
        designs=", ".join(f"{shift * 100:.0f}" for shift in DESIGN_SHIFTS),
        days=HISTORY_DAYS,
        keys=SCENARIO_KEYS,
        rival_keys=RIVAL_KEYS,
        adwin_keys=ADWIN_KEYS,
    )


def _missed(figures: Mapping[str, Figure]) -> str:
    missed = [f"\n- `{one.name}`: {one.value:.3g}, target {one.target}" for one in figures.values() if one.ok is False]
    judged = sum(one.ok is not None for one in figures.values())
    if not missed:
        return f"All {judged} targets are met."
    return f"{len(missed)} of {judged} targets are missed:\n" + "".join(missed)


def _rows(figures: Sequence[Figure]) -> str:
    rows = []
    for one in figures:
        interval = "" if one.interval is None else f"{one.interval[0]:.3g} to {one.interval[1]:.3g}"
        rows.append((f"`{one.name}`", f"{one.value:.3g}", interval, one.target))
    return markdown(("figure", "value", "95 %", "target"), rows)


def _coverage(figures: Mapping[str, Figure]) -> str:
    rows = []
    for regime in (*(regime.name for regime in REGIMES), "uncounted_language"):
        values = [figures[f"coverage.{regime}.{name}"].value for name in ("net", "negative", "neutral", "positive")]
        rows.append((regime.replace("_", " "), *(f"{value:.3f}" for value in values)))
    return markdown(("window", "net", "negative", "neutral", "positive"), rows)


def _delays(figures: Mapping[str, Figure]) -> str:
    rows = []
    for per_hour in VOLUMES:
        for drop in DROPS:
            at = f"{per_hour}_per_hour.drop_{drop * 100:.0f}"
            names = ("delay_limit_h", "delay_h", "delay_to_limit", "alert_delay_h", "alert_delay_to_limit")
            values = [f"{figures[f'{name}.{at}'].value:.2f}" for name in names]
            rows.append((f"{per_hour} posts/hour, {drop * 100:.0f} points", *values))
    return markdown(("drop", "limit, h", "signal, h", "to limit", "alert, h", "to its limit"), rows)


def _faster(figures: Mapping[str, Figure]) -> str:
    rows = []
    for per_hour in VOLUMES:
        for drop in DROPS:
            at = f"{per_hour}_per_hour.drop_{drop * 100:.0f}"
            found = [figures[f"times_faster_than.{name}.{at}"] for name in FIELD]
            values = [f"{one.value:.1f}{'*' if 'beyond' in one.target else ''}" for one in found]
            rows.append((f"{per_hour} posts/hour, {drop * 100:.0f} points", *values))
    return markdown(("drop", *FIELD.values()), rows)


def _scenarios(figures: Mapping[str, Figure]) -> str:
    rows = []
    for name in NAMES:
        values = [figures[f"false_per_key_week.{name}.{rival}"].value for rival in RIVALS]
        rows.append((name.replace("_", " "), *(f"{value:.2f}" for value in values)))
        more = figures.get(f"false_more_than_control.{name}")
        rows[-1] += (f"{more.value:.3f} ({more.interval[0]:.3f} to {more.interval[1]:.3f})" if more else "",)
    return markdown(("what happens", *(TITLES[rival] for rival in RIVALS), "ours to control"), rows)


PAGE = """\
# The sentiment index and its shifts

Written by `make bench-shifts` (`python -m bench.shifts`); do not edit. Seed {seed}; this run took {seconds:.0f} s on
two processes ({processor}). Long runs use simulated counts of labels, drawn through the shipped
model's confusion matrices; the cases at the end also take real labelled posts the real way.

{missed}

![A drop of 15 points in a key of 400 posts an hour](shifts.png)

## The index

Net sentiment is the share of positive minus the share of negative posts. Labels are corrected for what the model is
known to confuse in that language and domain ([calibration.json](../triton_models/analyzer/1/calibration.json)), and
weighed with a fixed mix of languages and source classes, so that a change of mix does not move the index. A stratum
without posts in a window is taken to have moved as the others have. Intervals hold the sampling error, with copies and
authors as clusters, and the error of the matrices, which are counts themselves.

How often 95 % intervals hold the truth (target 0.93 to 0.97; 4,000 runs each, the matrix counted anew in each; of the
last two rows the first is three languages with one matrix that was counted on few posts, the second takes each language
of social posts in turn for one that was not counted, and is only reported, because these languages are few):

{coverage}

## False alarms

A baseline (level, course of the day, course of the week) is learned for each key, and warms up for {warm_up_days} days.
Each window is standardised with its own variance and that of its prediction, and read once by CUSUMs for shifts of
{designs} points in both directions. Limits follow from a declared rate: {declared:.3g} false signals a key and day.
Signals become alerts through a step-up rule over all keys, which spends {margin:g} of the declared number: the rates
are approximations. 500 keys of 100 to 2,000 posts an hour, swinging over the day, for 90 days in which nothing shifts.
"Sharing posts": 100 of the keys are source classes and entities made from the posts of others.

{rates}

## Delays

After {days} days of history sentiment drops at once. The limit is the optimal CUSUM that knows the drop in advance and
reads every single label, at the same average run length, plus one window of 5 minutes and 2 minutes of settling. Alerts
are those of one key among 500 with 1 false alert a day. Means over 300 keys.

{delays}

How many times faster a signal comes than from others on uncorrected net sentiment, each tuned to the same rate of false
signals on 60 quiet days: PageHinkley (its delta is half the design shift), a threshold (distance from the first days)
and the sigma rule (distance in deviations of the last three days) on windows of 5 minutes and on hours, ADWIN on 5
minutes and 30 keys. Targets: 1 for PageHinkley, 1.5 for threshold and sigma rule; a star marks where even the limit
above is not 1.5 times faster: a threshold on windows that happen to fit the drop is nearly optimal. None of them knows
a season, and here is none; ADWIN's figures are rough: between runs they went from
0.7 to 1.6 for drops of 5 points at 200 posts an hour.

{faster}

## What must not alert

False signals a key in a week of: nothing (control), a language that is 30 points more negative going from 30 % to 60 %
of the posts, 1,000 copies of one negative post in two hours, a wave of 10 points each way every day, twice the volume.
400 posts an hour, 28 days of history, {keys:,} keys. A target is missed where the mean difference of the same keys to
the control is above 0 with its whole 95 % interval. All but the wave share one history; the control's posts are those
of the copies' week too, and half of the doubled ones. Others, on {rival_keys} of the keys (ADWIN on {adwin_keys}), are
tuned to the declared rate on the control. The index counts each story once: how copies are recognised is measured on
real posts, below.

{scenarios}

## What a shift is made of

Net sentiment corrected but with each side's own mix is what people see move. It is taken apart into language mix,
source mix, topic mix and sentiment itself by Shapley values over all 16 exchanges of the four. Cases with one
planted cause, 6,000 posts a side, labels drawn as the model would give them:

{decomposition}

The same with **real posts**: the {pool:.0f} labelled ones of `samples/` in languages and topics that have enough of
them, analysed by a running worker (broker, Triton with the shipped model), drawn with one planted cause by their
annotators' labels, {real_posts:,} a side, counted in Redis by the worker's store and read back by the reader of alerts.
Many are from the model's training data, so its labels are better here than elsewhere. And 1,000 copies of {copied} of
these posts, as they are, as retweets and with a link behind them, sent through the same worker: the share that was
recognised as copies of the post that they repeat.

{real}
"""
