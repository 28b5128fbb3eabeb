"""docker-compose.yml: valid by the compose specification, and every setting in it does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.settings import REPOSITORY, Settings, load_settings

FILE = REPOSITORY / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
BROKER_CONFIGS = {
    "node.id", "process.roles", "controller.quorum.voters", "controller.listener.names", "listeners",
    "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name",
    "offsets.topic.replication.factor", "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr", "group.initial.rebalance.delay.ms", "auto.create.topics.enable", "log.dirs",
}  # fmt: skip


def test_valid_by_the_specification() -> None:
    """The compose specification's own JSON schema accepts the file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_worker_settings_exist_and_load() -> None:
    """Each POLYVOX_ variable is a setting, and together they load to what the other services offer."""
    environment = SERVICES["worker"]["environment"]
    names = {key: key.removeprefix("POLYVOX_").lower() for key in environment}
    assert set(names.values()) <= set(Settings.model_fields)
    settings = load_settings(**{names[key]: value for key, value in environment.items()})
    assert settings.role == "all"
    assert settings.inference == "triton"
    assert settings.kafka_brokers in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert settings.redis_url.get_secret_value() == "redis://redis:6379/0"
    assert settings.triton_url == "triton:8001"
    assert f"{settings.models_dir}:ro" in SERVICES["worker"]["volumes"][0]
    assert f"127.0.0.1:{settings.health_port}:{settings.health_port}" in SERVICES["worker"]["ports"]
    assert f":{settings.health_port}/ready" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert settings.health_host == "0.0.0.0"  # inside the container only: the published port is loopback


def test_kafka_is_one_kraft_node() -> None:
    """One node is broker and controller; its listeners, map and advertised addresses agree."""
    environment = SERVICES["kafka"]["environment"]
    assert {key.removeprefix("KAFKA_").lower().replace("_", ".") for key in environment} == BROKER_CONFIGS
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{environment['KAFKA_NODE_ID']}@kafka:9093"
    listeners = dict(re.findall(r"(\w+)://[^:,]*:(\d+)", environment["KAFKA_LISTENERS"]))
    advertised = dict(re.findall(r"(\w+)://[^:,]*:(\d+)", environment["KAFKA_ADVERTISED_LISTENERS"]))
    mapped = dict(pair.split(":") for pair in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(listeners) == set(mapped)
    assert set(mapped.values()) == {"PLAINTEXT"}
    assert advertised == {name: port for name, port in listeners.items() if name != "CONTROLLER"}
    assert environment["KAFKA_CONTROLLER_LISTENER_NAMES"] == "CONTROLLER"
    assert environment["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    for key in environment:
        if key.endswith(("REPLICATION_FACTOR", "MIN_ISR")):
            assert environment[key] == "1", "one broker cannot hold more replicas"
    assert environment["KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS"] == "0"
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert SERVICES["kafka"]["ports"] == [f"127.0.0.1:{listeners['HOST']}:{listeners['HOST']}"]
    assert SERVICES["kafka"]["volumes"] == [f"kafka-data:{environment['KAFKA_LOG_DIRS']}"]


def test_redis_never_evicts_and_keeps_a_log() -> None:
    """Counters survive a restart, and a full Redis refuses writes instead of dropping counters."""
    command = SERVICES["redis"]["command"]
    assert command[0] == "redis-server"
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--appendfsync": "everysec", "--maxmemory-policy": "noeviction"}
    assert SERVICES["redis"]["volumes"] == ["redis-data:/data"]


def test_triton_serves_this_repository_with_its_own_backend() -> None:
    """Triton loads `triton_models/` and picks each model's `configs/onnxruntime.pbtxt` by one flag."""
    command = SERVICES["triton"]["command"]
    assert command[0] == "tritonserver"
    flags = dict(flag.removeprefix("--").split("=") for flag in command[1:])
    assert flags == {
        "model-repository": "/models",
        "model-config-name": "onnxruntime",
        "exit-on-error": "true",
        "strict-readiness": "true",
    }
    assert (REPOSITORY / "triton_models" / "analyzer" / "configs" / "onnxruntime.pbtxt").is_file()
    assert "./triton_models:/models:ro" in SERVICES["triton"]["volumes"]
    assert SERVICES["triton"]["shm_size"] == "256m"  # 64 MB, Docker's default, is too small for two Python models


def test_services_start_by_health() -> None:
    """The worker starts when all it needs is healthy; every service says how its health is found."""
    assert SERVICES["worker"]["depends_on"] == {
        name: {"condition": "service_healthy"} for name in ("kafka", "redis", "triton")
    }
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped", name
        check = service["healthcheck"]
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= set(check)
    assert SERVICES["worker"]["stop_grace_period"] == "20s"  # longer than the worker's own drain


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned_and_ports_are_loopback(name: str) -> None:
    """No `latest`, no port on another interface, no unnamed volume."""
    service = SERVICES[name]
    if "image" in service:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(-\w+)?", service["image"])
    else:
        assert service["build"]["target"] in re.findall(r" AS (\w+)", dockerfile())
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for volume in service["volumes"]:
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source == "./triton_models"


def dockerfile() -> str:
    return (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")


def test_dockerfile_copies_what_exists() -> None:
    """Each file that an image is built from is in the repository, base images are pinned, and root does not run."""
    for line in re.findall(r"^COPY (.+)$", dockerfile(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert Path(REPOSITORY / source).exists(), source
    for image in re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE):
        assert re.search(r":\d+\.\d+", image), image
    assert "USER polyvox" in dockerfile().split("FROM nvcr.io")[0]
