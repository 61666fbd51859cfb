"""Processes that start, stop and are looked at: nothing is dropped, nothing hangs, and one line says why."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pika
import pytest

from domain.bootstrap.opening import DRAIN
from domain.values import new_id
from ops.fleet import Fleet, Member
from ops.servers import Server
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import Town, open_town, order_of, said
from tests.factories import eventually

#: What a process has to stop, by its settings.
SHUTDOWN = 20.0
SETTINGS = {
    "STOCKYARD_WORKERS_SHUTDOWN_TIMEOUT": f"{SHUTDOWN:.0f}s",
    "STOCKYARD_API_SHUTDOWN_TIMEOUT": f"{SHUTDOWN:.0f}s",
    "STOCKYARD_WORKERS_PROBE_SILENCE": "2s",
    # A third of it is how long a worker asks a store that is away whether it has a job.
    "STOCKYARD_JOBS_LEASE": "9s",
}


@pytest.fixture(scope="module")
async def town(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    environment = {**environment_on(stack), **SETTINGS}
    with Fleet(environment, folder=tmp_path_factory.mktemp("graceful"), apis=2) as fleet:
        async with open_town(environment, fleet) as town:
            yield town


@pytest.fixture
async def all_up(town: Town, stack: Stack) -> AsyncIterator[None]:
    """Whatever the test stopped is started again."""
    yield
    await asyncio.to_thread(stack.up)
    for member in town.fleet.members:
        await asyncio.to_thread(member.start)


def ours(server: Server) -> Server:
    if not server.managed:
        pytest.skip(f"{server.label} comes from the environment: it is not ours to stop")
    return server


def worker_of(town: Town, pool: str) -> Member:
    (worker,) = (each for each in town.fleet.workers if each.name.startswith(pool))
    return worker


async def stopped(member: Member, *, within: float) -> tuple[int, float]:
    """The exit code after SIGTERM, and the seconds that it took."""
    assert member.process is not None
    began = time.monotonic()
    member.terminate()
    code = await asyncio.to_thread(member.process.wait, within)
    return code, time.monotonic() - began


async def test_a_worker_that_is_told_to_stop_finishes_its_batch(town: Town, all_up: None):
    ada, sku, worker = await town.customer(), await town.product(1000), worker_of(town, "orders")
    submitted = asyncio.create_task(_many(lambda: ada.submit({sku: 1}), 150))
    await eventually(lambda: _placed(town, sku))
    code, _ = await stopped(worker, within=20)
    assert code == 0
    assert "worker stopped" in said(worker.log)
    before = await _orders(town, sku)
    await asyncio.to_thread(worker.start)
    ids = await submitted
    assert before < len(ids)
    orders = [await ada.settled(order_id) for order_id in ids]
    assert {order["state"] for order in orders} == {"reserved"}
    attempts = [(await town.job(order_id))["attempts"] for order_id in ids]
    assert set(attempts) == {1}
    assert await town.levels(sku) == (850, 150)
    await town.check_settled()
    assert "Traceback" not in said(worker.log)


async def test_an_api_that_is_told_to_stop_answers_what_it_has_begun(town: Town, all_up: None):
    ada, sku, api = await town.customer(), await town.product(10), town.fleet.apis[1]
    worker_of(town, "orders").stop()
    pending = await ada.submit({sku: 1})
    body = json.dumps(order_of({sku: 1})).encode()
    base = httpx.URL(town.fleet.urls[1])
    async with httpx.AsyncClient(base_url=base, timeout=20) as client:
        waiting = asyncio.create_task(client.get(f"/v1/orders/{pending}?wait=20", headers=ada.headers))
        halves = [await asyncio.open_connection(base.host, base.port) for _ in range(10)]
        for _, writer in halves:
            writer.write(_head(ada.headers, len(body)) + body[:20])
            await writer.drain()
        for _ in range(2):  # what came before these has been read
            await client.get("/healthz")
        assert api.process is not None
        api.terminate()
        answer = await waiting
        assert (answer.status_code, answer.json()["state"]) == (200, "pending")
        for _, writer in halves:
            writer.write(body[20:])
            await writer.drain()
        answers = [await asyncio.wait_for(reader.read(), 20) for reader, _ in halves]
        for _, writer in halves:
            writer.close()
    assert {each.split(b" ", 2)[1] for each in answers} == {b"202"}
    assert await asyncio.to_thread(api.process.wait, 10) == 0
    assert "Traceback" not in said(api.log)
    worker_of(town, "orders").start()
    accepted = [json.loads(each.rpartition(b"\r\n\r\n")[2])["id"] for each in answers]
    for order_id in [pending, *accepted]:
        await ada.settled(order_id)
    assert await town.levels(sku) == (0, 10)


async def test_every_process_stops_in_time_while_the_store_is_away(town: Town, stack: Stack, all_up: None):
    ada, sku = await town.customer(), await town.product(1000)
    store, worker = ours(stack.mongo), worker_of(town, "orders")
    orders = [await ada.order({sku: 1}) for _ in range(3)]
    for order in orders:
        await ada.post(f"/v1/orders/{order['id']}/payments", {"source": "sandbox:approve"})
    ids = await _many(lambda: ada.submit({sku: 1}), 30)
    await asyncio.to_thread(store.kill)
    members = [worker, worker_of(town, "inventory"), town.fleet.apis[1], *town.fleet.schedulers]
    said_before = {member.name: len(said(member.log)) for member in members}
    ends = await asyncio.gather(*(stopped(member, within=SHUTDOWN + 12) for member in members))
    told = {member.name: end for member, end in zip(members, ends, strict=True)}
    assert {code for code, _ in ends} == {0}, told
    # After its jobs a worker drains what it has to write, which the store does not take.
    assert max(seconds for _, seconds in ends) < SHUTDOWN + DRAIN, told
    for member in members:
        since = said(member.log)[said_before[member.name] :]
        assert "never retrieved" not in since, since
        assert "raised an exception" not in since, since
    await asyncio.to_thread(store.start)
    for member in members:
        await asyncio.to_thread(member.start)
    for order_id in ids:
        assert (await ada.settled(order_id))["state"] == "reserved"
    await town.check_settled()


async def test_the_probe_of_a_worker_notices_that_it_consumes_nothing(town: Town, stack: Stack, all_up: None):
    ada, sku = await town.customer(), await town.product(10)
    broker, worker = ours(stack.rabbitmq), worker_of(town, "orders")
    assert _probe(worker)[0] == 200
    await asyncio.to_thread(broker.kill)
    await eventually(lambda: _probe(worker)[0] == 503)
    problems = _probe(worker)[1]["problems"]
    assert problems
    assert all("has not been consumed for" in problem for problem in problems)
    order_id = await ada.submit({sku: 1})
    await asyncio.to_thread(broker.start)
    await eventually(lambda: _probe(worker)[0] == 200, within=30)
    assert (await ada.settled(order_id))["state"] == "reserved"


async def test_a_worker_declares_a_queue_again_that_was_deleted(town: Town):
    ada, sku, queue = await town.customer(), await town.product(10), town.services.settings.rabbitmq
    _delete_queue(queue.url, f"orders.v{queue.queue_version}")
    assert (await ada.order({sku: 1}))["state"] == "reserved"
    await eventually(lambda: _probe(worker_of(town, "orders"))[0] == 200)


@dataclass
class Ended:
    code: int
    lines: list[str]


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., Ended]:
    """Runs a process that is to end by itself."""

    def start(*arguments: str, **more: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **environment, **more},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return Ended(done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line])

    return start


def nowhere() -> str:
    """The address of nobody."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("arguments", [("workers.main", "orders"), ("scheduler.main",), ("api",)])
def test_without_a_store_a_process_says_so_in_one_line_and_ends(
    run: Callable[..., Ended], arguments: tuple[str, ...]
):
    where = nowhere()
    ended = run(
        *arguments,
        STOCKYARD_MONGO_URL=f"mongodb://{where}/?directConnection=true",
        STOCKYARD_MONGO_TIMEOUT="1s",
        STOCKYARD_API_PORT="0",
    )
    assert ended.code == 1
    told = [line for line in ended.lines if "MongoDB" in line]
    assert len(told) == 1, ended.lines
    assert where.partition(":")[2] in told[0]
    assert "Traceback" not in "\n".join(ended.lines)


def test_a_worker_for_a_pool_that_is_unknown_names_those_there_are(run: Callable[..., Ended]):
    ended = run("workers.main", "orders", "ordres")
    assert ended.code == 2
    assert ended.lines == [
        "workers: no such pool: ordres (there are inventory, media, notifications, orders)"
    ]
    assert run("workers.main").code == 2


async def _many(submit: Callable[[], Any], times: int) -> list[str]:
    ids: list[str] = []
    for _ in range(times // 10):
        ids += await asyncio.gather(*(submit() for _ in range(10)))
    return ids


async def _orders(town: Town, sku: str) -> int:
    return await town.collection("orders").count_documents({"lines.sku": sku})


async def _placed(town: Town, sku: str) -> bool:
    return await _orders(town, sku) > 0


def _head(headers: dict[str, str], length: int) -> bytes:
    fields = {
        **headers,
        "Host": "api",
        "Idempotency-Key": new_id(),
        "Content-Type": "application/json",
        "Content-Length": str(length),
    }
    lines = ["POST /v1/orders HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _probe(worker: Member) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(worker.ready_url, timeout=5)
    return answer.status_code, answer.json()


def _delete_queue(url: str, name: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(name)
