"""`docker-compose.yml`, `Dockerfile` and `Procfile`, held against each other and against the settings."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not in the lock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.environment import variables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = (
    "api",
    "console",
    "worker-orders",
    "worker-inventory",
    "worker-notifications",
    "worker-media",
    "scheduler",
)
#: Behind a profile.
METRICS = ("prometheus", "grafana")
SERVERS = {"mongo": "mongo:8", "redis": "redis:8", "rabbitmq": "rabbitmq:4", "s3": "chrislusf/seaweedfs"}


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


def test_the_real_servers_and_all_processes_are_there():
    assert set(SERVICES) == {*OURS, *SERVERS, *METRICS}
    assert {name for name in SERVICES if "profiles" in SERVICES[name]} == set(METRICS)
    assert {name: SERVICES[name]["image"] for name in SERVERS} == SERVERS
    assert "--replSet" in SERVICES["mongo"]["command"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_checked_restarted_and_has_no_fixed_name(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["healthcheck"]["retries"]
    assert service["restart"] == "unless-stopped"
    assert "container_name" not in service


@pytest.mark.parametrize("name", OURS)
def test_a_process_waits_for_healthy_servers_and_is_given_time_to_stop(name):
    service = SERVICES[name]
    assert service["build"] == "."
    assert service["depends_on"] == {server: {"condition": "service_healthy"} for server in SERVERS}
    assert int(service["stop_grace_period"].removesuffix("s")) > 25


def test_only_what_clients_call_has_a_port_so_pools_can_be_scaled():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {
        "api",
        "console",
        "s3",
        "grafana",
    }
    # Nobody logs in there: it is for this machine.
    assert SERVICES["grafana"]["ports"] == ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"]
    assert SERVICES["s3"]["ports"] == ["127.0.0.1:${S3_PORT:-8333}:8333"]
    assert SERVICES["console"]["ports"] == ["127.0.0.1:${CONSOLE_PORT:-8001}:8001"]
    assert SERVICES["api"]["ports"] == ["127.0.0.1:${API_PORT:-8000}:8000"]


def test_compose_and_procfile_run_the_same_processes():
    commands = {re.sub(r"^(\w+=\S+ )+", "", command) for command in procfile().values()}
    assert {SERVICES[name]["command"] for name in OURS} == commands
    assert set(procfile()) == {"web", "orders", "inventory", "notifications", "media", "console", "scheduler"}


def test_every_setting_that_is_used_exists():
    text = TEXT + (ROOT / "Dockerfile").read_text() + (ROOT / "Procfile").read_text()
    assert set(re.findall(r"STOCKYARD_\w+", text)) <= set(variables())


def test_no_secret_is_written_down():
    for name in OURS:
        for variable, value in SERVICES[name]["environment"].items():
            if "KEY" in variable or "PASS" in variable:
                assert value.startswith("${")
    assert SERVICES["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_PASS"].startswith("${RABBITMQ_PASSWORD:?")


def test_a_volume_that_is_used_is_declared():
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith("./")
    }
    assert used == set(COMPOSE["volumes"])


def test_the_image_has_what_the_platform_needs_and_no_tool_of_its_tests():
    installed = set(left_in_the_lock())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    needed = needed_at_run_time()
    assert needed <= installed
    tools = {canonicalize_name(Requirement(line).name) for line in extras} - needed - {"setuptools"}
    assert not tools & installed


def test_the_image_does_not_run_as_root():
    users = re.findall(r"^USER (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in {"0", "root"}


def left_in_the_lock() -> list[str]:
    """What the Dockerfile's own filter leaves of the lock."""
    command = re.search(r"RUN (awk.*?)>runtime.lock", (ROOT / "Dockerfile").read_text(), re.DOTALL)
    assert command is not None
    filtered = subprocess.run(
        ["sh", "-c", command[1]], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return re.findall(r"^([a-z0-9][^=\s]*)==", filtered, re.MULTILINE)


def needed_at_run_time() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["console"], *extras["telemetry"]]
    waiting = [Requirement(line) for line in lines]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        for line in metadata.requires(wanted.name) or ():
            each = Requirement(line)
            extras = [{"extra": extra} for extra in ("", *wanted.extras)]
            if each.marker is None or any(each.marker.evaluate(extra) for extra in extras):
                waiting.append(each)
    return {name for name, _ in seen}
