"""Triton is killed under load, and a record kills the model each time it is asked."""

from __future__ import annotations

import json

from tests.fault.line import line
from tests.fault.models import DEADLY_TEXT, DEADLY_TOKENS
from tests.fault.posts import DATE, Made, posts
from tests.fault.row import Row, Trial, hold

POSTS_A_KILL = 3000
RESUMED_S = 5.0
DEATHS = 3
DEADLY = Made(json.dumps({"id": "deadly", "source": "fault", "published_at": DATE, "text": DEADLY_TEXT}).encode())


def killed(trial: Trial) -> None:
    """SIGKILL of the server while batches are with it: an outage, however often."""
    with (
        trial.rig.own_triton() as (triton, addresses, model),
        line(trial, addresses, seen_windows_mb="0", batch_posts="16") as tested,
    ):
        model.become("slow 0.02")
        tested.start()
        for _ in range(trial.repeats):
            published = tested.published()
            tested.send(posts(POSTS_A_KILL, trial.random))
            tested.progress(since=published)
            triton.kill("triton")
            trial.figures.repeats += 1
            published = tested.published()
            triton.restart("triton")  # returns when it is ready
            trial.figures.recovered(tested.progress(since=published))
        tested.finish(600)
        tested.stop()
        tested.audit(trial.figures)
        dead = tested.totals().dead_lettered
        trial.figures.notes["dead letters"] = dead
        hold(dead == 0, f"{dead} dead letters of an outage")
        trial.figures.within(trial.figures.worst_recovery_s, RESUMED_S, "resuming after Triton was ready")


def deadly(trial: Trial) -> None:
    """One record among good ones kills the model's process each time."""
    with trial.rig.own_triton() as (_, addresses, model), line(trial, addresses) as tested:
        model.become(f"deadly {DEADLY_TOKENS}")
        tested.start()
        for number in range(trial.repeats):
            good = list(posts(1000, trial.random))
            good.insert(trial.random.randrange(len(good)), DEADLY)
            tested.send(good)
            tested.finish()
            trial.figures.repeats += 1
            dead = tested.totals().dead_lettered
            hold(dead == number + 1, f"{dead} dead letters after {number + 1} deadly records")
            hold(model.deaths <= DEATHS * dead, f"the model died {model.deaths} times of {dead} records")
        trial.figures.notes |= {"dead letters": dead, "deaths": model.deaths}
        tested.stop()
        tested.audit(trial.figures)


KILLED = Row(
    number="10",
    fault="Triton kill -9",
    promise="0 dead letters, resumes within 5 s of being ready",
    repeats=20,
    run=killed,
)
DEADLY_RECORD = Row(
    number="10b",
    fault="a record that kills the model each time",
    promise="at most 3 restarts and exactly 1 dead letter for each",
    repeats=3,
    run=deadly,
)
