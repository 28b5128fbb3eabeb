"""Contender: Quix Streams with the model, one request to Triton a record.

Its functions see one record at a time, and its count windows collect by key, so that there is nothing to batch: keys of
posts are all different.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from tritonclient.grpc import InferenceServerClient, InferInput

from bench.contenders.labels import OUTPUTS, Labels
from bench.contenders.quix_copy import application, written_ms
from bench.jobs import Enrich

DEADLINE_S = 60.0


class Model:
    """Called with a post's bytes, answers with its labelled record's."""

    def __init__(self, job: Enrich) -> None:
        self._client = InferenceServerClient(job.triton)
        self._labels = Labels(Path(job.bundle))

    def __call__(self, value: bytes) -> bytes:
        tensors = []
        arrays = self._labels.padded(self._labels.tokens([value]))
        for name, array in zip(("input_ids", "attention_mask"), arrays, strict=True):
            tensors.append(InferInput(name, list(array.shape), "INT64"))
            tensors[-1].set_data_from_numpy(array)
        answer = self._client.infer("analyzer", tensors, client_timeout=DEADLINE_S)
        return self._labels.records([value], *(answer.as_numpy(name) for name in OUTPUTS))[0]


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=Enrich)
    app = application(job.pump)
    model = Model(job)
    output = app.topic(job.pump.output, key_serializer="bytes", value_serializer="bytes")
    for name in job.pump.inputs:
        frame = app.dataframe(app.topic(name, key_deserializer="bytes", value_deserializer="bytes"))
        frame.apply(model).set_timestamp(written_ms).to_topic(output)
    app.run(count=job.pump.count)
