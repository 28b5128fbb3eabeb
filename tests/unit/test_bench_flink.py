"""Flink in the bench: what is fetched, what it is told, and what happens where it cannot run.

No JVM and no Maven run here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.contenders.flink_triton import COPY_MODULE, OPTIONS, POM, SOURCES, compiler, statements
from bench.jobs import AskText, Pump, Split
from bench.page.models import FLINK
from bench.real import RealFigures, contenders, share
from bench.servers import Ground, Kafka
from tests.apache_kafka.broker import Unavailable, jars
from worker.settings import REPOSITORY

MAVEN = "{http://maven.apache.org/POM/4.0.0}"
JOB = AskText(Pump("127.0.0.1:9", ["posts.social", "posts.financial"], "out", 60, "group"), "127.0.0.1:8")
SQL = "\n".join(statements(JOB))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def ground(said: list[str]) -> Ground:
    return Ground(Kafka("none"), REPOSITORY / "triton_models", REPOSITORY / "samples", said.append)


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Programs are looked up in an empty directory."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def turns(ground: Ground) -> list[str]:
    """Whose turns there are."""
    return [turn.__name__ for turn in contenders(ground, RealFigures(100, 2, {}, {}), [], Split(8, 2, 1))]


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def pinned() -> dict[str, str]:
    """The version of each artifact that the pom names."""
    root = ElementTree.parse(POM).getroot()
    flink = root.findtext(f"{MAVEN}properties/{MAVEN}flink.version", "")
    found = [each for each in root.iter() if each.tag.removeprefix(MAVEN) in {"dependency", "plugin", "artifactItem"}]
    versions = {each.findtext(f"{MAVEN}artifactId", ""): each.findtext(f"{MAVEN}version", "") for each in found}
    return {name: version.replace("${flink.version}", flink) for name, version in versions.items()}


def test_every_jar_has_one_version_and_the_page_names_flinks() -> None:
    """No range and no placeholder; the page speaks of the versions that are fetched, which the bridge is made for."""
    versions = pinned()
    assert all(re.fullmatch(r"\d[\w.-]*", version) for version in versions.values()), versions
    assert f"flink-model-triton {versions['flink-model-triton']}" in FLINK
    assert f"**Flink SQL** {versions['flink-table-runtime']} " in FLINK


def test_the_job_reads_all_inputs_from_their_start_and_writes_the_output() -> None:
    """Broker, topics, group and Triton's address are those of the job; every statement is one."""
    for words in (
        "'properties.bootstrap.servers' = '127.0.0.1:9'",
        "'topic' = 'posts.social;posts.financial'",
        "'properties.group.id' = 'group'",
        "'scan.startup.mode' = 'earliest-offset'",
        "'topic' = 'out'",
        "'endpoint' = 'http://127.0.0.1:8/v2/models'",
    ):
        assert words in SQL
    assert ";" not in SQL.replace("posts.social;posts.financial", "")


def test_the_job_asks_the_model_that_is_there() -> None:
    """Name, version, input and output are those of the shipped model; Flink gives one input and reads one output."""
    config = (REPOSITORY / "triton_models" / "analyze_text" / "config.pbtxt").read_text()
    for side, column in re.findall(r"(INPUT|OUTPUT) \(`(\w+)`", SQL):
        assert re.search(rf'{side.lower()} \[\s*{{ name: "{column}"', config)
    assert "'model-name' = 'analyze_text', 'model-version' = '1'" in SQL
    assert (REPOSITORY / "triton_models" / "analyze_text" / "1" / "model.py").is_file()


def test_the_job_goes_through_the_bridge_and_nothing_else_is_tuned() -> None:
    """The provider is the one that Bridge.java registers; no option lifts a limit of the module or of Flink."""
    (bridge,) = (SOURCES / "META-INF" / "services" / "org.apache.flink.table.factories.Factory").read_text().split()
    (provider,) = re.findall(r"'provider' = '([\w-]+)'", SQL)
    assert f'return "{provider}";' in (SOURCES / f"{bridge}.java").read_text()
    assert set(OPTIONS) == {"parallelism.default", "execution.checkpointing.interval", "restart-strategy.type"}


def test_without_a_jdk_flink_is_left_out_and_it_is_said(bare_machine: Path, ground: Ground, said: list[str]) -> None:
    """It gets no turn, and what is missing is named before anything is fetched: a java, or a java's compiler."""
    assert "_flink" not in turns(ground)
    program(bare_machine / "java", """echo 'openjdk version "17.0.1"' >&2""")
    assert "_flink" not in turns(ground)
    assert [line[:18] for line in said] == ["no Flink: no java:", "no Flink: no javac"]
    program(bare_machine / "javac", "exit 0")
    assert compiler() == str(bare_machine / "javac")


def test_jars_are_fetched_once_and_never_half(bare_machine: Path) -> None:
    """No Maven and a Maven that fails are said and leave nothing that counts; a second call asks no more."""
    cache, asked = bare_machine / "flink", bare_machine / "asked"
    with pytest.raises(Unavailable, match="no mvn: install Maven, which fetches the jars of flink"):
        jars(POM, cache, COPY_MODULE)
    program(bare_machine / "mvn", "echo refused; exit 1")
    with pytest.raises(Unavailable, match=r"could not fetch flink.*refused"):
        jars(POM, cache, COPY_MODULE)
    program(bare_machine / "mvn", f'echo "$@" >> {asked}')
    assert [jars(POM, cache, COPY_MODULE) for _ in range(2)] == [cache / "jars"] * 2
    (line,) = asked.read_text().splitlines()
    assert line.endswith(f"-f {POM} dependency:copy-dependencies {COPY_MODULE} -DoutputDirectory={cache / 'jars'}")


def test_without_the_model_flink_is_left_out_and_it_is_said(tmp_path: Path, ground: Ground, said: list[str]) -> None:
    """Another repository may hold the analyzer alone, which Flink's module cannot ask."""
    assert "_flink" not in turns(replace(ground, models=tmp_path))
    assert "holds no analyze_text" in said[0]


def test_flink_gets_a_part_of_the_posts() -> None:
    """A quarter, and never fewer than the least."""
    assert (share("flink", 5400), share("flink", 150)) == (1350, 60)
