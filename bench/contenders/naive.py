"""Contender: what one writes first. A kafka-python loop, three Hugging Face pipelines, one post after the other.

Of the same size: the served encoder, read back into torch, in each of the three. Of the size of BERT base: random
weights, which take the same time. The heads are random in both: labels mean nothing here, time does.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    Pipeline,
    PreTrainedTokenizerFast,
    pipeline,
)

from bench.jobs import Naive
from worker.model.served import load_served

TASKS = (
    ("text-classification", BertForSequenceClassification, 3),
    ("text-classification", BertForSequenceClassification, 14),
    ("token-classification", BertForTokenClassification, 7),
)
"""Sentiment, topic and entities: the pipeline, its network, its labels."""

BASE_VOCABULARY = 119_547


def pipelines(bundle: Path, base_size: bool) -> list[Pipeline]:
    """One of each task, with the tokenizer of the bundle, cut at the encoder's positions."""
    network, _, labels = load_served(bundle)
    config = BertConfig(vocab_size=BASE_VOCABULARY) if base_size else network.config
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(bundle / "tokenizer.json"),
        model_max_length=min(labels.window_tokens, config.max_position_embeddings),
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )
    made = []
    for task, kind, count in TASKS:
        own = deepcopy(config)  # a pipeline reads its labels' names from the network's
        own.num_labels = count
        model = kind(own)
        if not base_size:
            model.bert.load_state_dict(network.encoder.state_dict(), strict=False)
        made.append(pipeline(task, model=model.eval(), tokenizer=tokenizer, device="cpu"))
    return made


def run(job: Naive) -> None:
    """Read, ask three times, write; offsets are committed by the client's own timer."""
    models = pipelines(Path(job.bundle), job.base_size)
    pump = job.pump
    consumer = KafkaConsumer(
        *pump.inputs, bootstrap_servers=pump.brokers, group_id=pump.group, auto_offset_reset="earliest"
    )
    producer = KafkaProducer(bootstrap_servers=pump.brokers)
    for done, record in enumerate(consumer, start=1):
        post = msgspec.json.decode(record.value)
        # A token classification takes its cut from the tokenizer, a text classification from its call.
        cut = [{"truncation": True}, {"truncation": True}, {}]
        answers = [model(post["text"], **options) for model, options in zip(models, cut, strict=True)]
        named = {"sentiment": answers[0][0]["label"], "topic": answers[1][0]["label"], "entities": len(answers[2])}
        producer.send(pump.output, msgspec.json.encode(post | named), key=record.key)
        if done == pump.count:
            break
    producer.flush()


if __name__ == "__main__":
    run(msgspec.json.decode(sys.argv[1], type=Naive))
