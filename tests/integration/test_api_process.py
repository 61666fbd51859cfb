"""The API as a process: it starts, says so, and stops."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api import ORDER


@contextmanager
def process(environment: dict[str, str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "api.log"
    env = {**os.environ, "STOCKYARD_API_PORT": "0", **environment}
    with log.open("wb") as output:
        child = subprocess.Popen([sys.executable, "-m", "api"], env=env, stderr=output, stdout=output)
        try:
            yield child, log
        finally:
            child.kill()
            child.wait()


def url_of(log: Path, child: subprocess.Popen[bytes]) -> str:
    """Where it listens, once it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        found = re.search(r"http://[\d.]+:\d+", log.read_text())
        if found:
            try:
                if httpx.get(found[0] + "/readyz").is_success:
                    return found[0]
            except httpx.TransportError:
                pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_it_serves_until_it_is_told_to_stop(environment: dict[str, str], tmp_path: Path):
    with process(environment, tmp_path) as (child, log):
        url = url_of(log, child)
        credentials = {"email": "ada@example.com", "password": "correct horse battery"}
        httpx.post(url + "/v1/auth/register", json=credentials).raise_for_status()
        token = httpx.post(url + "/v1/auth/login", json=credentials).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        headers = bearer | {"Idempotency-Key": "one"}
        assert httpx.post(url + "/v1/orders", json=ORDER, headers=headers).status_code == 202
        with httpx.stream("GET", url + "/v1/stream", headers=bearer) as told:
            assert told.status_code == 200
            begun = time.monotonic()
            child.send_signal(signal.SIGTERM)
            told.read()
        assert child.wait(30) == 0
        assert time.monotonic() - begun < 10
    assert "Traceback" not in log.read_text()


def test_several_workers_share_a_port_and_add_their_metrics_up(environment: dict[str, str], tmp_path: Path):
    with process({**environment, "STOCKYARD_API_WORKERS": "2"}, tmp_path) as (child, log):
        url = url_of(log, child)
        for _ in range(20):
            httpx.get(url + "/v1/products").raise_for_status()
        text = httpx.get(url + "/metrics").text
        line = 'stockyard_http_requests_total{method="GET",route="/v1/products",status="200"} 20.0'
        assert line in text
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_the_store_it_says_so_in_a_line_and_ends(
    environment: dict[str, str], tmp_path: Path, workers: str
):
    away = {
        "STOCKYARD_API_WORKERS": workers,
        "STOCKYARD_MONGO_URL": "mongodb://127.0.0.1:1/?directConnection=true",
        "STOCKYARD_MONGO_TIMEOUT": "100ms",
    }
    with process({**environment, **away}, tmp_path) as (child, log):
        assert child.wait(60) == 1
    text = log.read_text()
    assert "api.services_unavailable" in text
    assert "MongoDB" in text
    assert "Traceback" not in text


def test_a_port_that_is_taken_is_one_line_and_the_end(environment: dict[str, str], tmp_path: Path):
    with process(environment, tmp_path) as (child, log):
        port = url_of(log, child).rpartition(":")[2]
        other = tmp_path / "other"
        other.mkdir()
        with process({**environment, "STOCKYARD_API_PORT": port}, other) as (second, second_log):
            assert second.wait(60) == 1
        (line,) = second_log.read_text().splitlines()
        assert "api.cannot_listen" in line


def test_a_killed_worker_is_replaced_and_none_outlives_its_parent(
    environment: dict[str, str], tmp_path: Path
):
    with process({**environment, "STOCKYARD_API_WORKERS": "2"}, tmp_path) as (child, log):
        url = url_of(log, child)
        parent = psutil.Process(child.pid)
        victim, other = parent.children()
        victim.kill()
        until(lambda: victim.pid not in {each.pid for each in parent.children()})
        until(lambda: len(parent.children()) == 2)
        assert "api.worker_died" in log.read_text()
        assert httpx.get(url + "/healthz").is_success
        workers = parent.children()
        assert other in workers
        child.kill()
        psutil.wait_procs(workers, timeout=30)
        assert not any(worker.is_running() for worker in workers)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
