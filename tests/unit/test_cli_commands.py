"""The command line without servers: help that teaches, exit codes, errors in one line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from worker import errors
from worker.cli import app
from worker.cli.console import ErrorsInOneLine, Exit, exit_code, stopped_in_order
from worker.cli.up import chosen_ports
from worker.errors import ConfigInvalid, PlatformUnsupported, PolyvoxError
from worker.settings import REPOSITORY, settings

TINY_MODELS = REPOSITORY / "tests" / "fixtures" / "tiny_models"
NOBODY = "127.0.0.1:9"
runner = CliRunner()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No settings but those of the test, and servers that nobody runs."""
    for name in [name for name in os.environ if name.startswith("POLYVOX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("POLYVOX_MODELS_DIR", str(TINY_MODELS))
    monkeypatch.setenv("POLYVOX_TRITON_URL", NOBODY)
    monkeypatch.setenv("POLYVOX_KAFKA_BROKERS", NOBODY)
    monkeypatch.setenv("POLYVOX_REDIS_URL", f"redis://{NOBODY}/0")
    settings.cache_clear()
    yield monkeypatch
    settings.cache_clear()


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = sorted(commands(get_command(app)))


def test_the_commands_are_those_of_the_readme() -> None:
    """None is missing."""
    assert {path[0] for path in ALL} >= {"demo", "up", "run", "produce", "tail", "analyze", "status", "version"}
    assert {path[1] for path in ALL if path[0] == "dead-letters"} == {"list", "requeue"}


@pytest.mark.parametrize("path", ALL, ids="-".join)
def test_help_says_what_the_command_does_and_shows_how(path: tuple[str, ...]) -> None:
    """Each help text has a sentence, an example that names the command, and its exit codes or a remark."""
    shown = runner.invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    if path != ("version",):
        assert "Examples" in shown.output
        assert f"polyvox {' '.join(path)}" in shown.output.split("Examples")[1]


def test_no_command_at_all_shows_the_help() -> None:
    """A first call teaches."""
    shown = runner.invoke(app, [])
    assert "polyvox demo" in shown.output
    assert shown.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["produce"],
        ["produce", "posts.txt"],
        ["produce", "missing.jsonl"],
        ["tail"],
        ["dead-letters", "requeue"],
        ["up", "--port", "kafka=99999"],
        ["run", "--role", "both"],
        ["analyze", "--inference", "magic", "x"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """And says so on standard error alone."""
    ended = runner.invoke(app, arguments)
    assert ended.exit_code == Exit.USAGE
    assert ended.stdout == ""
    assert ended.stderr


def test_unusable_settings_are_named_in_one_line(environment: pytest.MonkeyPatch) -> None:
    """The variable is named, nothing else is shown, and it counts as wrong usage."""
    environment.setenv("POLYVOX_POOL_POSTS", "many")
    ended = runner.invoke(app, ["status"])
    assert ended.exit_code == Exit.USAGE
    assert "POLYVOX_POOL_POSTS" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


ERRORS = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, PolyvoxError)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_ours_is_one_line_and_no_traceback(error: type[PolyvoxError]) -> None:
    """Settings and machines that cannot work end with 2, every other error with 1."""
    failing = typer.Typer(cls=ErrorsInOneLine, pretty_exceptions_enable=False)
    problem = error("decode", "why", "what to do") if error is errors.BadRecord else error("what happened")

    @failing.command()
    def fail() -> None:
        raise problem

    @failing.command()
    def other() -> None: ...

    ended = runner.invoke(failing, ["fail"])
    assert ended.exit_code == (2 if error in (ConfigInvalid, PlatformUnsupported) else 1) == exit_code(problem)
    assert ended.stdout == ""
    assert ended.stderr == f"polyvox: {problem}\n"


def test_ctrl_c_is_quiet() -> None:
    """130, as shells expect, without a traceback."""
    interrupted = typer.Typer(cls=ErrorsInOneLine, pretty_exceptions_enable=False)

    @interrupted.command()
    def wait() -> None:
        raise KeyboardInterrupt

    @interrupted.command()
    def other() -> None: ...

    ended = runner.invoke(interrupted, ["wait"])
    assert (ended.exit_code, ended.output) == (Exit.INTERRUPTED, "")


@pytest.mark.slow
def test_a_cluster_that_is_away_is_a_problem_found() -> None:
    """1, and one line that names the address and the setting."""
    ended = runner.invoke(app, ["tail", "enriched"])
    assert (ended.exit_code, ended.stdout) == (Exit.PROBLEM, "")
    assert len(ended.stderr.strip().splitlines()) == 1
    assert NOBODY in ended.stderr
    assert "POLYVOX_KAFKA_BROKERS" in ended.stderr


@pytest.mark.slow
def test_status_asks_all_servers_even_when_one_is_away() -> None:
    """Each server has its line; 1 when one does not answer; a worker that is not here is no problem."""
    ended = runner.invoke(app, ["status", "--json"])
    assert ended.exit_code == Exit.PROBLEM
    found = json.loads(ended.stdout)
    assert set(found) == {"kafka", "triton", "redis", "worker"}
    assert [name for name, check in found.items() if check["problem"]] == ["kafka", "triton", "redis"]
    assert found["worker"]["said"] == "none at this address"


def test_only_the_first_signal_counts_while_things_are_stopped() -> None:
    """An impatient second Ctrl-C must not interrupt the clean-up; afterwards all is as before."""
    before = signal.getsignal(signal.SIGINT)
    cleaned_up = False

    def interrupted() -> None:
        nonlocal cleaned_up
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            cleaned_up = True

    with pytest.raises(KeyboardInterrupt), stopped_in_order():
        interrupted()
    assert cleaned_up
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_unwinds_like_ctrl_c() -> None:
    """So that what was started is stopped; the exit status is that of a terminated process."""
    with pytest.raises(SystemExit) as ended, stopped_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == Exit.TERMINATED


def test_ports_are_chosen_by_name() -> None:
    """`--port name=number`, repeatedly; 0 takes a free one."""
    assert chosen_ports(["kafka=0", "triton_grpc=18001"]) == {"kafka": 0, "triton_grpc": 18001}
    for wrong in ("kafka", "kafka=", "kafka=-1", "zookeeper=1", "kafka=65536", "kafka=1.5"):
        with pytest.raises(typer.BadParameter, match="expected one of kafka"):
            chosen_ports([wrong])


def lines_of(output: str) -> list[dict[str, Any]]:
    """One object a line."""
    return [json.loads(line) for line in output.splitlines()]


def test_analyze_answers_each_text_in_order() -> None:
    """One object a line, with the fields of `enriched`; offsets fit the text; one line says where the model runs."""
    texts = ["Boeing faces another delay in Seattle.", "Was für ein schöner Tag in Hamburg!"]
    ended = runner.invoke(app, ["analyze", "--json", *texts])
    assert ended.exit_code == Exit.FINE
    found = lines_of(ended.stdout)
    assert [each["language"] for each in found] == ["en", "de"]
    for text, each in zip(texts, found, strict=True):
        assert each["sentiment"]["label"] in ("negative", "neutral", "positive")
        assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in each["entities"])
    [line] = ended.stderr.splitlines()
    assert NOBODY in line


def test_analyze_reads_texts_and_objects_from_standard_input() -> None:
    """Only `language` is a hint: a file of labelled data (`lang`) must not tell the answer."""
    german = "Das ist ein sehr schöner Tag und wir gehen alle in den Park."
    lines = [german, json.dumps({"text": german, "lang": "en"}), json.dumps({"text": german}), "{not json}", ""]
    ended = runner.invoke(app, ["analyze", "-", "--json", "--inference", "embedded"], input="\n".join(lines))
    assert (ended.exit_code, ended.stderr) == (Exit.FINE, "")
    found = lines_of(ended.stdout)
    assert len(found) == 4
    assert found[0] == found[1] == found[2]


def test_analyze_says_which_text_cannot_be_analysed() -> None:
    """Its line holds the reason, the others are answered, and the exit code is 1."""
    too_long = "word " * 3_000
    ended = runner.invoke(app, ["analyze", "--json", "--inference", "embedded", "fine", too_long, "fine"])
    assert ended.exit_code == Exit.PROBLEM
    found = lines_of(ended.stdout)
    assert [("error" in each) for each in found] == [False, True, False]
    assert found[1]["error"]["reason"] == "text_too_long"
    table = runner.invoke(app, ["analyze", "--inference", "embedded", "fine", too_long])
    assert "text_too_long" in table.stdout


def test_analyze_through_triton_needs_triton() -> None:
    """Asked for by name, it is not replaced by another engine."""
    ended = runner.invoke(app, ["analyze", "--inference", "triton", "x"])
    assert (ended.exit_code, ended.stdout) == (Exit.PROBLEM, "")
    assert NOBODY in ended.stderr


def test_a_bundle_that_is_missing_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the variable to set."""
    environment.setenv("POLYVOX_MODELS_DIR", str(tmp_path))
    ended = runner.invoke(app, ["analyze", "x"])
    assert ended.exit_code == Exit.USAGE
    assert "POLYVOX_MODELS_DIR" in ended.stderr
    assert "Traceback" not in ended.output
