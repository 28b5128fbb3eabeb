"""Early stopping: ends when the score no longer rises, keeps the best checkpoint, and survives a restart."""

from dataclasses import replace
from itertools import count

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.small_run import RECIPE, TOPICS, Stop, make_base, make_data, write  # noqa: E402 - after the skip
from worker.model import checkpoint, fine_tune  # noqa: E402
from worker.model.evaluate import EvaluationError  # noqa: E402
from worker.model.options import Options  # noqa: E402
from worker.model.sampling import load_mixture  # noqa: E402
from worker.model.stopping import EarlyStop, dev_scorer  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_TEN = replace(RECIPE, options=Options(stop_check_minutes=10 / 60, stop_patience=2))


def run_with(scores, tmp_path, stop_after=None):
    """Train with these scores at the looks, 10 ticks apart, within 100; returns the run and each look's weights."""
    data, out = tmp_path / "data", tmp_path / "run"
    if not out.exists():
        make_data(data)
        make_base(out)
    seen = []

    def score(folder):
        seen.append(checkpoint.load(folder)[0].topic.weight)
        return next(scores)

    run, steps = fine_tune.Run.start(EVERY_TEN, TOPICS, out, 100.0, score), count(1)

    def progress(_done, _total):
        if next(steps) == stop_after:
            run.save()
            raise Stop

    try:
        run.train(load_mixture(EVERY_TEN, data, TOPICS), count().__next__, progress)
    except Stop:
        assert stop_after
    return run, seen


def test_a_falling_score_ends_the_run_and_the_best_is_kept(tmp_path):
    """Best at the second look, then two worse: over after the fourth, with the second's weights in ckpt-best."""
    run, seen = run_with(iter([0.3, 0.5, 0.4, 0.5]), tmp_path)
    assert (len(seen), run.position.elapsed_s) == (4, 40.0)
    best, _, _ = checkpoint.load(tmp_path / "run/ckpt-best")
    assert torch.equal(best.topic.weight, seen[1])
    assert not torch.equal(best.topic.weight, seen[3])


def test_a_rising_score_lets_the_budget_end_the_run(tmp_path):
    """Ten looks in a hundred ticks, the last when the budget is spent; ckpt-best is then the last."""
    run, seen = run_with(iter(n / 100 for n in range(20)), tmp_path)
    assert (len(seen), run.position.elapsed_s) == (10, 100.0)
    assert torch.equal(checkpoint.load(tmp_path / "run/ckpt-best")[0].topic.weight, run.network.topic.weight)


def test_a_restart_remembers_the_looks(tmp_path):
    """Killed after two looks, the run goes on with the third, not the first, and one that is over stays over."""
    scores = iter([0.5, 0.4, 0.3])
    run_with(scores, tmp_path, stop_after=25)
    run, seen = run_with(scores, tmp_path)
    assert (len(seen), run.position.elapsed_s) == (1, 30.0)
    again, none = run_with(iter([]), tmp_path)
    assert (none, again.position.step) == ([], run.position.step)


def test_a_look_that_outlasts_the_interval_is_not_made_up_for(tmp_path):
    """After 35 of 10 the next look is due at 40, not at once."""
    (tmp_path / "ckpt-latest").mkdir()
    stop = EarlyStop(tmp_path, lambda _folder: 0.1, every_s=10.0, patience=3)
    assert stop.due(35.0)
    stop.look(35.0)
    assert not stop.due(39.0)
    assert stop.due(40.0)


def test_the_score_is_the_mean_of_the_tasks_on_their_dev_files(tmp_path):
    """A network that always says positive, topic 0 and nothing else gets what those labels deserve."""
    data, out = make_data(tmp_path / "data"), make_base(tmp_path / "run")
    write(data / "sentiment/s/en.dev.jsonl.xz", [{"text": "a", "label": "positive"}] * 5)
    label = next(iter(TOPICS.sources["ag_news_testset"]))
    write(data / "topic/ag_news_testset/en.dev.jsonl.xz", [{"text": "b", "label": label}] * 5)
    run = fine_tune.Run.start(RECIPE, TOPICS, out, 1.0)
    expected = min(TOPICS.columns("ag_news_testset", label))
    with torch.no_grad():
        for head in (run.network.sentiment, run.network.topic, run.network.tags):
            head.weight.zero_()
            head.bias.zero_()
        run.network.sentiment.bias[2] = run.network.topic.bias[expected] = run.network.tags.bias[0] = 9.0
    run.save()
    # One class present and always right; the topic right; no entity found.
    assert dev_scorer(RECIPE, data, 10)(out / "ckpt-latest") == pytest.approx((1.0 + 1.0 + 0.0) / 3, abs=1e-3)


def test_a_task_without_dev_files_is_named_before_training(tmp_path):
    """The dev files are looked up when the run begins, not at the first look."""
    with pytest.raises(EvaluationError, match="sentiment"):
        dev_scorer(RECIPE, make_data(tmp_path / "data"), 10)
