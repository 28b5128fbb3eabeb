"""The tables of contenders, with the real model and with the null model."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bench.jobs import Setting, Split
from bench.null import COPIED_FACTOR, FAST_MODEL, SLOWER_COPIES, NullFigures
from bench.real import SHARES, RealFigures, bare_name, share
from bench.tables import Row, best, markdown, median_ratio, rows, table
from worker.settings import Settings

REAL_PICTURE, NULL_PICTURE = "performance-model.svg", "performance-null.svg"
POLYVOX = {
    "enrich": "polyvox, enrich stage alone",
    "path_published": "polyvox, whole path, until in `enriched`",
    "path_applied": "polyvox, whole path, until counted in Redis",
    "two_workers": "polyvox, two workers, until in `enriched`",
}
RIVALS = {
    "faststream": "FastStream: batches of 1,024 sorted by length, 16 a request, 3 at once",
    "quix": "Quix Streams: one request a record",
    "flink": "Flink SQL with its Triton module as released, bridged: one request a record",
    "naive": "kafka-python and three pipelines, encoder of the same size",
    "naive_base": "kafka-python and three pipelines, size of BERT base",
}
COPIES = {
    "aiokafka": "bare aiokafka: `getmany`, `send_batch`",
    "faust": "bare Faust agent: `noack_take`, `send_batch`, uvloop",
    "faststream": "FastStream copies: batch subscriber, 1,024 records",
    "faststream_one": "FastStream copies: record by record, polls of 1,024",
    "quix": "Quix Streams copies",
}
OWN_WORK = {"own_work": "the worker's own work on a post, in a loop of one thread"}


def real_rows(figures: RealFigures) -> dict[str, Row]:
    """The reference, the setting of bare Triton with the best median, first."""
    reference = best(figures.runs, "bare_triton")
    settings = {bare_name(each): each for each in figures.grid}
    others = [name for name in figures.runs if name.startswith("bare_triton") and name != reference]
    names = {reference: f"bare Triton, {label(settings[reference])} (the best)"}
    names |= {name: f"bare Triton, {label(settings[name])}" for name in others}
    names["alone"] = f"onnxruntime alone, {split_label(max(figures.splits, key=lambda each: figures.splits[each]))}"
    return rows(names | POLYVOX | RIVALS, figures.runs, reference)


def null_rows(figures: NullFigures) -> dict[str, Row]:
    """The reference is the bare Faust agent: what Faust leaves to do in time."""
    return rows(COPIES | OWN_WORK | POLYVOX, figures.runs, "faust")


def label(setting: Setting) -> str:
    """A setting in words."""
    return f"batches of {setting.batch}, {setting.in_flight} in flight"


def split_label(split: Split) -> str:
    """A split in words."""
    return f"batches of {split.batch}, {_count(split.sessions, 'session')} of {_count(split.threads, 'thread')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"


def real_part(figures: RealFigures) -> str:
    """The section of the real model."""
    runs = figures.runs
    reference = best(runs, "bare_triton")
    fewer = ", ".join(f"{share(name, figures.posts)} ({name})" for name in SHARES if name in RIVALS and name in runs)
    return REAL.format(
        posts=figures.posts,
        pool=Settings.model_fields["pool_posts"].default,
        batch=Settings.model_fields["batch_posts"].default,
        tokens=Settings.model_fields["batch_tokens"].default,
        fewer=fewer,
        picture=REAL_PICTURE,
        table=table(real_rows(figures)),
        processors=figures.processors,
        budget=_budget(figures, reference),
        published=f"{median_ratio(runs, 'path_published', reference):.2f}",
        applied=f"{median_ratio(runs, 'path_applied', reference):.2f}",
        padded=f"{median(figures.padded_tokens):.3f}",
        start=f"{median(figures.start_s):.1f}",
        flink=FLINK if "flink" in runs else NO_FLINK,
        grid=_grid(figures.grid),
        splits=_splits(figures.splits),
    )


REAL = """\
## The real model

{posts} posts of `samples/` (repeated where they do not suffice), four partitions for each of two topics, one
worker (`polyvox run`, default settings), one Triton with the shipped configuration. Slow contenders get fewer posts:
{fewer}.

![Posts per second with the real model]({picture})

{table}

The worker reaches {published} of the best bare setting up to `enriched`, and {applied} with the aggregates; what keeps
it from more, and what was tried, is in [decisions/speed.md](decisions/speed.md). It sends {padded} tokens for each real
one. From its start to its first enriched record, with a backlog waiting, pass {start} s.
What the path takes of the {processors} processors that everybody shares, where bare Triton has them nearly for itself:

{budget}

- **Bare Triton** is a gRPC client that has all texts tokenized in advance by the worker's own code, sorted by length
  over the whole run (better than a worker can, which sees {pool} posts ahead), and does nothing with the answers. Its
  batches hold a fixed number of windows; the worker's hold up to {batch} of them and {tokens} tokens, which suits short
  and long texts alike, and can so make up for what the rest of the path costs.
- **onnxruntime alone** gets the same batches of the same file, in one process without any server.
- **FastStream** and **Quix Streams** ask the same Triton, with tokens made in their own process. They do less than
  polyvox: no language, no windows (long texts are cut), no calibration, no entities, no aggregates, no dead letters.
  FastStream is written as well as we can in a page. Quix hands over one record at a time, and its count windows collect
  by key, so that there is nothing to batch where keys differ.
- **The pipelines** are what one writes first: one post after the other through sentiment, topic and entities, each its
  own network in torch. Of the same size: the served encoder, read back. Of BERT base's size: random weights, which take
  the same time. Their heads are random in both, so their labels mean nothing; the texts and lengths are the same.
{flink}
A first look over the grids, one short run each, chose the settings of bare Triton and onnxruntime above:

{grid}

{splits}"""

FLINK = """\
- **Flink SQL** 2.3.0 runs in one JVM with parallelism 2 and asks through its own flink-model-triton 2.3.0
  (`ML_PREDICT`): one HTTP request with JSON a record, and at most 5 at once, the limit of its HTTP client. No job of
  this module starts as published, so that a class of ours stands between (`bench/contenders/flink/Bridge.java`): the
  check of a model's columns has its condition the wrong way round and rejects every model, and a buffer for compressed
  requests cannot be serialised. The model's version is given, too: the default, "latest", is a path that Triton lacks.
  It takes models of one input, hence `analyze_text`: the worker's analysis inside Triton, in one process of Python,
  for all requests that arrive within 5 ms together. There are no aggregates and no dead letters.
"""

NO_FLINK = """\
- **Flink SQL** with flink-model-triton is not in the table: no run of it exists here. It needs a JDK 17, Maven and the
  model `analyze_text`; the bench says which was missing.
"""


def _budget(figures: RealFigures, reference: str) -> str:
    """Where the processors' time goes; what neither the contender nor Triton used is Kafka's, Redis's, or nobody's."""
    rows_found = []
    for name, title in ((reference, "bare Triton"), ("path_published", "polyvox, whole path")):
        runs = figures.runs[name]
        whole = median(1000 * figures.processors / run.posts_per_s for run in runs)
        own, triton = median(run.cpu_s for run in runs), median(run.triton_cpu_s for run in runs)
        rows_found.append((title, *(f"{each:.2f}" for each in (whole, own, triton, whole - own - triton))))
    return markdown(("processor seconds for 1,000 posts", "all", "its own", "Triton", "Kafka, Redis, idle"), rows_found)


def _grid(grid: Mapping[Setting, float]) -> str:
    sizes = sorted({each.batch for each in grid})
    lines = [
        "| Triton, in flight | " + " | ".join(f"batches of {size}" for size in sizes) + " |",
        "|---|" + "---:|" * len(sizes),
    ]
    for in_flight in sorted({each.in_flight for each in grid}):
        found = (grid.get(Setting(size, in_flight)) for size in sizes)
        lines.append(f"| {in_flight} | " + " | ".join(f"{rate:.0f}" if rate else "" for rate in found) + " |")
    return "\n".join(lines)


def _splits(splits: Mapping[Split, float]) -> str:
    lines = ["| onnxruntime alone | posts/s |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {split_label(split)} | {rate:.0f} |" for split, rate in splits.items())])


def null_part(figures: NullFigures) -> str:
    """The section of the null model."""
    options = ", ".join(f"`{name}={value}`" for name, value in FAST_MODEL.items())
    start = f"{median(figures.start_s):.1f}" if figures.start_s else "?"
    return f"""\
## A model that costs nothing

{figures.posts} posts, {COPIED_FACTOR} times as many for the loops that copy ({SLOWER_COPIES["faststream_one"]} times
fewer of these for FastStream record by record). The null model answers at once, in the same Triton through the same
protocol, so this is the cost of everything else: decoding, language identification, tokenizing, batching, the gRPC
round trip with full logits, labels and spans, encoding, publishing, and the aggregates. The loops copy the bytes they
read, a quarter of an enriched post. The worker runs with the largest batches that the model takes, instead of the
defaults for a slow model on a CPU: {options}. Its first record is in `enriched` {start} s after its start.

![Posts per second with a model that costs nothing]({NULL_PICTURE})

{table(null_rows(figures))}

{_own_work(figures)}

Two workers share these cores with Kafka, Redis, Triton and each other: on two cores they show that a group of workers
works, not what a second machine would add."""


def _own_work(figures: NullFigures) -> str:
    """Why no enrich stage reaches a loop that copies, in figures."""
    [row] = rows(OWN_WORK, figures.runs, "faust").values()
    return OWN.format(
        cpu_s=row.cpu_s.median,
        rate=row.posts_per_s.median,
        of_faust=median_ratio(figures.runs, "own_work", "faust"),
        reached=median_ratio(figures.runs, "enrich", "own_work"),
    )


OWN = """\
What the worker makes of a post (language, tokens, labels, links of entities, fingerprint, JSON) takes {cpu_s:.2f} s of
a processor for 1,000 posts when nothing else happens, {rate:,.0f} posts/s: {of_faust:.2f} of the bare Faust agent,
which makes nothing of them. More than this no process reaches; the enrich stage, with Kafka, Triton and the commit path
around the same work, reaches {reached:.2f} of it."""
