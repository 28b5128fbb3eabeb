"""`polyvox model explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.configured import settings
from worker.cli.console import err, examples, json_line, out, printable, say
from worker.cli.model.running import train_errors

if TYPE_CHECKING:
    from rich.text import Text

    from worker.model.explain import Explanation

SHOWN_WORDS = 12


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command(
        "explain",
        epilog=examples(
            'polyvox model explain "Was für ein großartiger Abend, nur das Essen war kalt."',
            'polyvox model explain "Shares of Nokia fell 8%" --head topic --html why.html',
            'polyvox model explain "Shares of Nokia fell 8%" --checkpoint run/ckpt-latest --json',
            after="Integrated gradients, from the text with every word masked to the text. Blue words moved the answer "
            "towards the label, orange ones away from it.",
        ),
    )(explain)


def explain(
    text: Annotated[str, typer.Argument(help="one text, in any language")],
    head: Annotated[Literal["sentiment", "topic"], typer.Option(help="the answer to explain")] = "sentiment",
    checkpoint: Annotated[
        Path | None, typer.Option(help="a fine-tuned folder; by default the bundle of the settings")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="also write a page to this file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Say which words moved the label of a text, and by how much."""
    with train_errors(), err().status("explaining"):
        from worker.model.explain import Explainer
        from worker.model.explanation_page import write_page

        explainer = Explainer.of_checkpoint(checkpoint) if checkpoint else Explainer.of_bundle(settings().bundle_dir)
        found = explainer.explain(text, head)
        if html:
            write_page(html, found)
    if as_json:
        json_line(found.to_json())
    else:
        _print(found)


def _print(found: Explanation) -> None:
    """The answer, the text in colours, the strongest words; on standard error what a reader should know of them."""
    from rich.table import Table
    from rich.text import Text

    out().print(
        Text.assemble(
            f"{found.head}: ", (found.name, "bold"), f" {found.confidence:.0%}  ", (found.language, "magenta")
        )
    )
    out().print(coloured(found))
    table = Table("adds", "word", box=None, pad_edge=False)
    for word in sorted(found.words, key=lambda word: -abs(word.adds))[:SHOWN_WORDS]:
        table.add_row(f"{word.adds:+.2f}", Text(printable(word.text, 40), style(found.strength(word))))
    out().print(table)
    say(
        f"score {found.score:+.2f} logits, with every word masked {found.masked_score:+.2f}; the words add up to the "
        f"difference but for {abs(found.gap):.2f}; {found.model}",
        "bright_black",
    )
    if unknown := sum(not word.known for word in found.words):
        say(
            f"{unknown} of {len(found.words)} words are not in the vocabulary: they all look alike to the model",
            "yellow",
        )


def coloured(found: Explanation) -> Text:
    """The text on one line, each word on a background of its strength."""
    from rich.text import Text

    line = Text()
    for text, word in found.stretches():
        if word is None:
            line.append(" " if any(map(str.isspace, text)) else "")
        else:
            line.append(printable(text), style(found.strength(word)))
    return line


def style(strength: float) -> str:
    """Black on blue for +1, black on orange for -1, towards white between."""
    red, green, blue = (60, 140, 255) if strength > 0 else (255, 140, 30)
    tint = [round(255 - (255 - part) * abs(strength)) for part in (red, green, blue)]
    return f"black on rgb({tint[0]},{tint[1]},{tint[2]})"
