"""The command `polyvox`: commands with lazy imports and no logic of their own. The only importer of typer and rich."""

from __future__ import annotations

import typer

from worker.cli import (
    alerts,
    analyze,
    calibrate,
    dead_letters,
    demo,
    entities,
    model,
    posts,
    replay,
    servers,
    up,
    verify,
)
from worker.cli.console import ErrorsInOneLine, examples

app = typer.Typer(
    name="polyvox",
    cls=ErrorsInOneLine,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Sentiment, topics and entities of posts in many languages: from Kafka, through one BERT on Triton, to Redis.",
    epilog=examples(
        "polyvox demo                     # everything on this machine, on real text",
        'polyvox analyze "Was für ein Tag!"   # one text, no server needed',
        "polyvox up                       # a local stack and a worker, until Ctrl-C",
        "polyvox produce posts.jsonl      # in another terminal",
        "polyvox tail enriched",
        after="Settings are environment variables: POLYVOX_KAFKA_BROKERS, POLYVOX_TRITON_URL, POLYVOX_REDIS_URL, ... "
        "Exit codes: 0 fine, 1 a problem was found, 2 wrong usage or settings, 130 Ctrl-C.",
    ),
)

for commands in (demo, up, servers, posts, analyze, entities, alerts, dead_letters, verify, replay, calibrate, model):
    commands.add_to(app)
