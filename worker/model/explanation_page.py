"""An explanation as a page: the text with its words tinted, and a table of what each one adds."""

from html import escape
from pathlib import Path
from string import Template

from worker.model.explain import Explanation, ExplanationError, Word
from worker.model.replacing import write_whole

TOWARDS, AWAY = "0, 90, 200", "230, 110, 0"  # blue and orange: told apart by almost everybody
PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>$name</title>
<style>
body { font: 16px/1.6 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
.text { white-space: pre-wrap; font-size: 1.3rem; }
.text span { border-radius: 0.2rem; }
td { padding-right: 1.5rem; }
td:first-child { text-align: right; font-variant-numeric: tabular-nums; }
</style>
<h1>$head: $name ($confidence)</h1>
<p class="text" dir="auto" lang="$language">$text</p>
<p><span style="background: rgba($towards, 0.5)">blue</span> words moved the answer towards $name,
<span style="background: rgba($away, 0.5)">orange</span> ones away from it. Scores in logits: $score with the words,
$masked with every word masked; the words below add up to the difference, but for $gap. Model: $model.</p>
<table>
$rows
</table>
</html>
""")


def write_page(path: Path, explanation: Explanation) -> None:
    """Write the page, whole; ExplanationError when it cannot be."""
    try:
        write_whole(path, page(explanation).encode())
    except OSError as error:
        raise ExplanationError(f"{path}: cannot be written ({error.strerror}); give another file") from error


def page(explanation: Explanation) -> str:
    """The HTML; the text keeps its direction and its white space."""
    ordered = sorted(explanation.words, key=lambda word: -abs(word.adds))
    return PAGE.substitute(
        name=escape(explanation.name),
        head=explanation.head,
        confidence=f"{explanation.confidence:.0%}",
        language=escape(explanation.language),
        text="".join(_tinted(explanation, text, word) for text, word in explanation.stretches()),
        towards=TOWARDS,
        away=AWAY,
        score=f"{explanation.score:+.2f}",
        masked=f"{explanation.masked_score:+.2f}",
        gap=f"{abs(explanation.gap):.2f}",
        model=escape(explanation.model),
        rows="\n".join(
            f"<tr><td>{word.adds:+.2f}</td><td><bdi>{escape(word.text)}</bdi></td></tr>" for word in ordered
        ),
    )


def _tinted(explanation: Explanation, text: str, word: Word | None) -> str:
    if word is None:
        return escape(text)
    strength = explanation.strength(word)
    colour = f"rgba({TOWARDS if strength > 0 else AWAY}, {0.6 * abs(strength):.2f})"
    return f'<span style="background: {colour}" title="{word.adds:+.2f}">{escape(text)}</span>'
