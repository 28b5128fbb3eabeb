"""Contender: Flink SQL with its own Triton module, one HTTP request with JSON a record.

The module takes models of one input and one output, so that it asks `analyze_text` and not `analyzer`: tokens, windows,
languages, calibration and entities are made inside Triton, in one process of Python, and the record gets them as text.
Everything of Flink stands as it comes; `flink/Bridge.java` says what keeps the module from starting without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.jobs import AskText
from tests.apache_kafka.broker import Unavailable, jars, java
from worker.errors import PolyvoxError
from worker.settings import REPOSITORY

SOURCES = Path(__file__).with_name("flink")
POM = SOURCES / "pom.xml"
CACHE = REPOSITORY / ".cache" / "flink"
COPY_MODULE = "dependency:copy"
HEAP = "-Xmx1g"
OPTIONS = {
    "parallelism.default": "2",
    "execution.checkpointing.interval": "10 s",
    "restart-strategy.type": "none",  # a failure ends the run instead of counting as slowness
}

COLUMNS = "`id` STRING, `source` STRING, `published_at` STRING, `text` STRING"
KAFKA = "'connector' = 'kafka', 'properties.bootstrap.servers' = '{brokers}', 'value.format' = 'json'"
SQL = """\
CREATE TEMPORARY TABLE posts ({columns}) WITH ({kafka}, 'topic' = '{inputs}',
  'properties.group.id' = '{group}', 'scan.startup.mode' = 'earliest-offset');
CREATE TEMPORARY VIEW texts AS SELECT *, ARRAY[`text`] AS texts FROM posts;
CREATE TEMPORARY MODEL analyze INPUT (`TEXT` ARRAY<STRING>) OUTPUT (`RESULT` STRING) WITH (
  'provider' = 'triton-bridged', 'endpoint' = 'http://{triton}/v2/models',
  'model-name' = 'analyze_text', 'model-version' = '1');
CREATE TEMPORARY TABLE enriched ({columns}, `result` STRING) WITH ({kafka}, 'topic' = '{output}',
  'key.format' = 'raw', 'key.fields' = 'id');
INSERT INTO enriched SELECT `id`, `source`, `published_at`, `text`, `RESULT`
  FROM ML_PREDICT(TABLE texts, MODEL analyze, DESCRIPTOR(`texts`))
"""
"""An array of one text has the shape [1, 1] that the model takes. The version is named because the module's default,
"latest", becomes a part of the path, which Triton does not have."""


def flink_jars() -> Path:
    """The directory of Flink's jars, fetched when the pom has changed.

    Raises:
        Unavailable: this machine lacks a JDK or Maven, or cannot fetch them.
    """
    compiler()
    return jars(POM, CACHE, COPY_MODULE)


def compiler() -> str:
    """The program `javac` beside `java`.

    Raises:
        Unavailable: no JDK.
    """
    program = Path(java()).with_name("javac")
    found = str(program) if program.is_file() else shutil.which("javac")
    if found is None:
        raise Unavailable(f"no javac beside {java()}: install a JDK, not only its runtime")
    return found


def compiled(classpath: str) -> Path:
    """The directory of the classes of `flink/`, made anew.

    Raises:
        PolyvoxError: they do not compile.
    """
    classes = CACHE / "classes"
    command = [compiler(), "-cp", classpath, "-d", str(classes), *map(str, sorted(SOURCES.glob("*.java")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PolyvoxError(f"{SOURCES} does not compile:\n{done.stderr}")
    return classes


def statements(job: AskText) -> list[str]:
    """The SQL of the job: posts, their texts, the model, the output, and the one query between them."""
    pump = job.pump
    names = {"inputs": ";".join(pump.inputs), "group": pump.group, "output": pump.output, "triton": job.triton_http}
    return SQL.format(kafka=KAFKA.format(brokers=pump.brokers), columns=COLUMNS, **names).strip().split(";\n")


def command(job: AskText, classpath: str) -> list[str]:
    """The program and its arguments; it ends when `job.pump.count` records are written."""
    options = "\n".join(f"{name}={value}" for name, value in OPTIONS.items())
    pump = job.pump
    return [
        java(),
        HEAP,
        "-cp",
        classpath,
        "Job",
        options,
        pump.brokers,
        pump.output,
        str(pump.count),
        *statements(job),
    ]


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=AskText)
    libraries = f"{flink_jars()}/*"
    program = command(job, f"{compiled(libraries)}:{SOURCES}:{libraries}")
    os.execv(program[0], program)
