"""The API as a process: it starts, says so, and stops."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from ops.fleet import Fleet
from ops.stack import Stack
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


def _ends_when_idle(url: str) -> None:
    where = httpx.URL(url)
    with socket.create_connection((where.host, where.port or 0), timeout=5) as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n")
        began, said = time.monotonic(), b""
        while more := link.recv(4096):
            said += more
    assert said.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began > 0.5


def test_it_serves_until_it_is_told_to_stop(environment: dict[str, str], tmp_path: Path):
    with process(environment | {"STOCKYARD_API_KEEP_ALIVE": "1s"}, tmp_path) as (child, log):
        url = url_of(log, child)
        _ends_when_idle(url)
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


def test_what_is_no_http_is_a_problem_with_all_headers(environment: dict[str, str], tmp_path: Path):
    with process(environment, tmp_path) as (child, log):
        host, port = url_of(log, child).removeprefix("http://").split(":")
        for nonsense in (b"FOO /v1/orders HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\r\n\r\n"):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(nonsense)
                with connection.makefile("rb") as answered:
                    head, _, body = answered.read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            for header in (b"content-type: application/problem+json", b"x-frame-options: DENY"):
                assert header in head
            problem = json.loads(body)
            assert problem["code"] == "malformed_request"
            assert problem["request_id"].encode() in head


def test_a_head_without_end_is_refused_however_it_comes(environment: dict[str, str], tmp_path: Path):
    begin = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    with process(environment, tmp_path) as (child, log):
        host, port = url_of(log, child).removeprefix("http://").split(":")

        def status(*parts: bytes) -> bytes:
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                with suppress(OSError):
                    for part in parts:
                        connection.sendall(part)
                        if len(parts) > 1 and select.select([connection], [], [], 0.01)[0]:
                            break
                return connection.recv(65536)[9:12]

        many = b"".join(b"X-%d: y\r\n" % n for n in range(9000))
        assert status(begin + many + b"\r\n") == b"431"
        assert status(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n") == b"431"
        # A line that never ends, in pieces: nothing of it reaches the parser's callbacks.
        assert status(begin + b"X: ", *[b"a" * 5000] * 400) == b"431"
        assert status(begin + b"X: " + b"a" * 60_000 + b"\r\n\r\n") == b"200"


def test_what_ends_in_one_process_is_refused_by_the_other(stack: Stack, fleet_of: Callable[..., Fleet]):
    quick = {"STOCKYARD_AUTH_RECHECK": "1s"}
    fleet = fleet_of(apis=2, pools={}, schedulers=0, settings=quick)
    with httpx.Client(base_url=fleet.urls[0]) as one, httpx.Client(base_url=fleet.urls[1]) as other:
        refuses_together(stack, one, other)


def refuses_together(stack: Stack, one: httpx.Client, other: httpx.Client) -> None:
    person = {"email": "ada@example.com", "password": "correct horse battery"}
    both = [one, other] * 5
    with ThreadPoolExecutor(len(both)) as pool:
        came = list(pool.map(lambda client: client.post("/v1/auth/register", json=person).status_code, both))
    assert sorted(came) == [201] + [409] * 9
    owner = logged_in(one, person)
    made = one.post("/v1/keys", json={"name": "r", "scopes": ["orders:read"], "rate_limit": 4}, headers=owner)
    key = {"X-API-Key": made.json()["key"]}
    counted = [client.get("/v1/orders", headers=key).status_code for client in (one, other) * 3]
    assert counted == [200] * 4 + [429] * 2

    def ended() -> Callable[[], bool]:
        """A session that both know, and that `one` has ended; whether the other refuses it."""
        session = logged_in(one, person)
        found = other.get("/v1/me/sessions?limit=1", headers=session).json()["sessions"][0]
        assert one.get("/v1/me", headers=session).status_code == 200
        assert one.delete(f"/v1/me/sessions/{found['id']}", headers=owner).status_code == 204
        assert one.get("/v1/me", headers=session).status_code == 401
        return lambda: other.get("/v1/me", headers=session).status_code == 401

    until(ended())
    assert one.delete(f"/v1/keys/{made.json()['id']}", headers=owner).status_code == 204
    until(lambda: other.get("/v1/orders", headers=key).status_code == 401)
    stack.valkey.stop()
    try:
        until(ended())
    finally:
        stack.valkey.start()
    until(ended())


@pytest.mark.parametrize("module", [("api",), ("workers.main", "orders"), ("scheduler.main",)])
def test_production_starts_nothing_with_the_secrets_of_development(module: tuple[str, ...], tmp_path: Path):
    bare = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    done = subprocess.run(
        [sys.executable, "-m", *module],
        env={**bare, "STOCKYARD_ENV": "production", "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "not fit for production: STOCKYARD_AUTH_SIGNING_KEY is missing; STOCKYARD_RABBITMQ_URL" in line


def logged_in(client: httpx.Client, person: dict[str, str]) -> dict[str, str]:
    token = client.post("/v1/auth/login", json=person).raise_for_status().json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
