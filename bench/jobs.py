"""What each contender is told to do: one JSON object on its command line."""

from __future__ import annotations

import msgspec


class Pump(msgspec.Struct, frozen=True):
    """Read `count` records of `inputs` and write one record for each to `output`, then end."""

    brokers: str
    inputs: list[str]
    output: str
    count: int
    group: str

    def output_partition(self, topic: str, partition: int) -> int:
        """One to one, as in polyvox."""
        return partition * len(self.inputs) + self.inputs.index(topic)


class Enrich(msgspec.Struct, frozen=True):
    """The same, with the model's labels in the records written.

    Attributes:
        triton: its gRPC address.
        bundle: the model's directory, for tokenizer and labels.
    """

    pump: Pump
    triton: str
    bundle: str


class AskText(msgspec.Struct, frozen=True):
    """The same with the model `analyze_text` over HTTP; `triton_http` is Triton's address."""

    pump: Pump
    triton_http: str


class Naive(msgspec.Struct, frozen=True):
    """The same with three Hugging Face pipelines.

    Attributes:
        bundle: the directory of the model that is read back into torch.
        base_size: a random network of the size of BERT base instead of it.
    """

    pump: Pump
    bundle: str
    base_size: bool


class Setting(msgspec.Struct, frozen=True):
    """How Triton is asked: windows in one request, and requests at once."""

    batch: int
    in_flight: int


class Flood(msgspec.Struct, frozen=True):
    """Run `count` posts of `samples` through the model of `bundle` once with each setting."""

    url: str
    bundle: str
    samples: str
    count: int
    settings: list[Setting]
    result: str
    """The file that gets the completion times of the posts, Unix seconds, as one list per setting."""


class Split(msgspec.Struct, frozen=True):
    """How onnxruntime runs alone: windows in a batch, sessions at once, threads of each."""

    batch: int
    sessions: int
    threads: int


class Alone(msgspec.Struct, frozen=True):
    """Run `count` posts of `samples` through the file of `bundle` once with each split; `result` as in `Flood`."""

    bundle: str
    samples: str
    count: int
    splits: list[Split]
    result: str


class OwnWork(msgspec.Struct, frozen=True):
    """Make the events of `count` posts of `samples` in batches of `batch` posts, as the worker would.

    Attributes:
        result: the file that gets the completion times of the posts, Unix seconds.
    """

    bundle: str
    samples: str
    count: int
    batch: int
    result: str
