"""`polyvox analyze`."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.configured import settings
from worker.cli.console import Exit, answer, examples, json_line, out, printable, run_async, say
from worker.errors import BadRecord
from worker.events import Analysis, encode

if TYPE_CHECKING:
    from rich.table import Table

    from worker.analysis.analyzer import Analyzer
    from worker.analysis.bundle import Bundle
    from worker.analysis.inference import Inference
    from worker.entities.link import Linker
    from worker.settings import Settings

CHUNK_TEXTS = 256
PROBE_S = 1.0
"""How long `auto` waits for Triton before it runs the model in this process."""

Engine = Literal["auto", "triton", "embedded"]
Text = tuple[str, str | None]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            'polyvox analyze "Boeing faces another delay in Seattle." "Was für ein Tag!"',
            "polyvox analyze - < texts.txt",
            "polyvox analyze - --json < posts.jsonl | jq .sentiment.label",
            after="Lines of standard input are texts, or JSON objects with a text and, if known, a language. "
            "Exit codes: 0 fine, 1 a text could not be analysed (its line holds the reason), 2 wrong usage.",
        )
    )(analyze)


def analyze(
    texts: Annotated[list[str], typer.Argument(help="texts, or - for one a line from standard input")],
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object a line, with the fields of `enriched`")
    ] = False,
    inference: Annotated[
        Engine | None, typer.Option(help="auto: Triton when it answers within a second, else in this process")
    ] = None,
) -> None:
    """Say what the model says about texts: language, sentiment, topic, entities."""
    configured = settings()
    lines: Iterable[Text] = _stdin_lines() if texts == ["-"] else ((text, None) for text in texts)
    bad = run_async(_analyze(configured, lines, inference or configured.inference, as_json))
    raise typer.Exit(Exit.PROBLEM if bad else Exit.FINE)


def _stdin_lines() -> Iterator[Text]:
    """Texts from standard input; bytes that are not UTF-8 are replaced, empty lines are passed over."""
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.strip():
            yield read_line(text)


def read_line(line: str) -> Text:
    """A JSON object's `text` and `language`; any other line is the text itself."""
    try:
        found = json.loads(line) if line.lstrip().startswith("{") else None
    except ValueError:
        return line, None
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        return line, None
    hint = found.get("language")
    return found["text"], hint if isinstance(hint, str) else None


async def _analyze(configured: Settings, lines: Iterable[Text], engine: Engine, as_json: bool) -> int:
    """Print the analysis of each text, in order; how many could not be analysed."""
    from worker.entities.link import Linker
    from worker.entities.table import load_aliases

    rest, bad, linker = iter(lines), 0, Linker(load_aliases())
    async with open_analyzer(configured, engine) as analyzer:
        while chunk := list(islice(rest, 1 if sys.stdin.isatty() else CHUNK_TEXTS)):
            found = [
                _linked(linker, text, each)
                for (text, _), each in zip(chunk, await analyzer.analyze(chunk), strict=True)
            ]
            bad += sum(isinstance(each, BadRecord) for each in found)
            if as_json:
                _print_json(found)
            else:
                out().print(_table(chunk, found))
    return bad


def _linked(linker: Linker, text: str, found: Analysis | BadRecord) -> Analysis | BadRecord:
    """The analysis with the ids of its entities, as the worker publishes it."""
    from worker.entities.link import with_ids

    return found if isinstance(found, BadRecord) else with_ids(linker, text, found)


@asynccontextmanager
async def open_analyzer(configured: Settings, engine: Engine) -> AsyncIterator[Analyzer]:
    """The analyser of the settings, on the engine that was asked for."""
    from worker.analysis.analyzer import Analyzer
    from worker.analysis.batching import TokenBudget
    from worker.analysis.bundle import Bundle
    from worker.analysis.prepare import Preparer
    from worker.text.language import Identifier

    bundle = Bundle.load(configured.bundle_dir)
    inference = await _inference(configured, bundle, engine)
    try:
        yield Analyzer(
            Preparer(bundle, Identifier(), configured.max_windows),
            inference,
            TokenBudget(configured.batch_tokens, configured.batch_posts),
            configured.abstain_below,
        )
    finally:
        await inference.aclose()


async def _inference(configured: Settings, bundle: Bundle, engine: Engine) -> Inference:
    """The engine that was asked for; `auto` asks Triton first.

    Raises:
        InferenceUnavailable, ModelInvalid: Triton was asked for, and is away or runs another model.
    """
    from worker.analysis.choice import make_inference
    from worker.errors import InferenceUnavailable, ModelInvalid

    if engine == "auto":
        probe = make_inference(
            configured.model_copy(update={"inference": "triton", "triton_timeout_s": PROBE_S}), bundle
        )
        try:
            await probe.check()
            engine = "triton"
        except (InferenceUnavailable, ModelInvalid) as error:
            why = "does not answer" if isinstance(error, InferenceUnavailable) else "runs another model"
            say(f"polyvox: Triton at {configured.triton_url} {why}; the model runs in this process", "bright_black")
            engine = "embedded"
        finally:
            await probe.aclose()
    inference = make_inference(configured.model_copy(update={"inference": engine}), bundle)
    await inference.check()
    return inference


def _print_json(found: Sequence[Analysis | BadRecord]) -> None:
    for each in found:
        if isinstance(each, BadRecord):
            error = {"stage": each.stage, "reason": each.reason, "detail": each.detail}
            json_line({"error": error})
        else:
            answer(encode(each).decode())


def _table(texts: Sequence[Text], found: Sequence[Analysis | BadRecord]) -> Table:
    from rich.table import Table
    from rich.text import Text as Styled

    from worker.cli.records import entities_text, sentiment_text

    table = Table("language", "sentiment", "topic", "entities", "text", box=None, pad_edge=False)
    for (text, _), each in zip(texts, found, strict=True):
        shown = Styled(printable(text, 60))
        if isinstance(each, BadRecord):
            table.add_row("", Styled(each.reason, "red"), "", Styled(printable(each.detail, 40)), shown)
        else:
            table.add_row(
                f"{each.language} {each.language_confidence:.0%}",
                sentiment_text(each),
                Styled(f"{printable(each.topic.name, 28)} {each.topic.confidence:.0%}"),
                entities_text(each.entities),
                shown,
            )
    return table
