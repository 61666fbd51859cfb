"""Processes and servers are killed and stopped while orders flow: what was accepted ends, once (P1 to P4).

The short form; the long one is `make soak`, with the same driver.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from domain.values import new_id
from ops.fleet import Fleet
from ops.servers import Server
from ops.soak.faults import SHORT_HOLDS, run_faults
from ops.soak.plan import plan_of
from ops.soak.summary import Summary
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import Person, Town, open_town, order_of
from tests.factories import check_books, eventually

SEED = 20261122
#: The other ways are in the tests below, and in `make soak`.
PLAN = {
    "kill worker": 2, "kill inventory": 1, "kill api": 1, "kill scheduler": 1,
    "stop rabbitmq": 1, "stop valkey": 1, "kill mongo": 1,
}  # fmt: skip
#: Seconds in which a request is answered although the store is away.
TOLD_WITHIN = 6.0


@pytest.mark.timeout(240)
async def test_whatever_is_killed_what_was_accepted_ends_once(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for server in stack.servers:
        ours(server)
    environment = environment_on(stack) | SHORT_HOLDS
    fleet = Fleet(environment, folder=tmp_path, apis=2, pools={"orders": 2, "inventory": 1})
    with fleet:
        summary = await asyncio.to_thread(
            run_faults, fleet, stack,
            environment=environment, seed=SEED, seconds=12.0, plan=plan_of(PLAN), clients=4, rate=10.0,
        )  # fmt: skip
        with capsys.disabled():
            print(report(summary))  # noqa: T201 - the summary is for people, passed or failed
        assert summary.ok, report(summary)
        assert len(summary.faults) == sum(PLAN.values())
        assert summary.accepted > 100
        assert summary.worker_kills_in_batch > 0
        # What a killed worker had in a transaction is not locked for long; no job waits for its resend.
        assert summary.settled_after < 30
        async with open_town(environment, fleet) as town:
            await town.check_settled()


@pytest.fixture(scope="module")
async def town(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    environment = environment_on(stack)
    with Fleet(environment, folder=tmp_path_factory.mktemp("away"), apis=1) as fleet:
        async with open_town(environment, fleet) as town:
            yield town


@pytest.fixture
async def ada(town: Town) -> Person:
    return await town.customer()


async def test_while_rabbitmq_is_away_orders_are_accepted_and_sent_later(
    town: Town, ada: Person, stack: Stack
):
    sku, broker = await town.product(100), ours(stack.rabbitmq)
    first = [asyncio.create_task(ada.submit({sku: 1})) for _ in range(40)]
    await asyncio.to_thread(broker.kill)
    try:
        took = [await _timed(ada.submit({sku: 1})) for _ in range(20)]
        last = took[-1][0]
        assert (await ada.look(last))["state"] == "pending"
        assert (await ada.get("/v1/jobs/" + last))["attempts"] == 0
    finally:
        await asyncio.to_thread(broker.start)
    # What is on its way when the broker dies may wait for its confirm until the deadline; others need not.
    assert sum(seconds > 1 for _, seconds in took) <= 1, took
    for order_id in [*await asyncio.gather(*first), *(order_id for order_id, _ in took)]:
        assert (await ada.settled(order_id))["state"] == "reserved"
    assert await town.levels(sku) == (40, 60)
    await town.check_settled()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_while_the_store_is_away_requests_are_refused_soon_and_nothing_is_half_accepted(
    town: Town, ada: Person, stack: Stack, how: str
):
    sku, store = await town.product(1000), ours(stack.mongo)
    bodies = [(new_id(), order_of({sku: 1})) for _ in range(60)]
    sending = [asyncio.create_task(_timed(ada.send("/v1/orders", body, key=key))) for key, body in bodies]
    await asyncio.to_thread(getattr(store, how))
    try:
        answers = await asyncio.gather(*sending)
        late = [ada.send("/v1/orders", order_of({sku: 1})), ada.client.get("/v1/orders", headers=ada.headers)]
        answers += await asyncio.gather(*map(_timed, late))
    finally:
        await asyncio.to_thread(store.start)
    for answer, seconds in answers:
        assert answer.status_code in {202, 503}, answer.text
        assert seconds < TOLD_WITHIN
        if answer.status_code == 503:
            assert answer.json()["code"] == "unavailable"
            assert answer.headers["retry-after"]
    assert {answer.status_code for answer, _ in answers[-2:]} == {503}
    # A client that tries again with its key gets one order, whatever became of the first request.
    ids = await asyncio.gather(*(_until_accepted(ada, key, body) for key, body in bodies))
    assert len(set(ids)) == len(bodies)
    first = [answer.json()["id"] for answer, _ in answers[:60] if answer.status_code == 202]
    assert set(first) <= set(ids)
    for order_id in ids:
        assert (await ada.settled(order_id))["state"] == "reserved"
    await town.check_settled()
    jobs = town.collection("jobs")
    assert await jobs.count_documents({"kind": "orders.place", "attempts": {"$ne": 1}}) == 0
    assert await jobs.count_documents({"kind": "orders.place", "state": "dead"}) == 0


async def test_jobs_that_the_store_left_alone_come_back_and_no_attempt_is_counted(
    town: Town, ada: Person, stack: Stack
):
    sku, store = await town.product(1000), ours(stack.mongo)
    orders = await asyncio.gather(*(ada.order({sku: 1}) for _ in range(30)))
    for order in orders:
        await ada.post(f"/v1/orders/{order['id']}/payments", {"source": "sandbox:approve"})
        if order is orders[10]:
            killing = asyncio.create_task(asyncio.to_thread(store.kill))
            break
    await killing
    await asyncio.to_thread(store.start)
    await eventually(lambda: _ended(town, "orders.pay"), within=30)
    payments = await town.collection("jobs").find({"kind": "orders.pay"}).to_list()
    assert {job["state"] for job in payments} == {"succeeded"}
    again = [job["history"] for job in payments if job["attempts"] != 1]
    assert not again, again
    await check_books(town.services)


async def test_while_redis_is_away_orders_flow_and_events_are_told_later(
    town: Town, ada: Person, stack: Stack
):
    sku, valkey = await town.product(100), ours(stack.valkey)
    await asyncio.to_thread(valkey.kill)
    try:
        orders = await asyncio.gather(*(ada.order({sku: 1}) for _ in range(5)))
        assert {order["state"] for order in orders} == {"reserved"}
    finally:
        await asyncio.to_thread(valkey.start)
    # An event leaves the outbox once it is published.
    await town.check_settled()
    assert [each["seq"] for each in await ada.events()] == [1, 2, 3, 4, 5]


async def test_a_redis_that_is_emptied_again_and_again_under_load_loses_nothing(town: Town, ada: Person):
    sku, over = await town.product(100), threading.Event()
    emptying = asyncio.create_task(asyncio.to_thread(_empty, town.services.settings.redis.url, over))
    try:
        orders = await asyncio.gather(*(ada.order({sku: 1}) for _ in range(40)))
        paid = await ada.pay(orders[0]["id"])
    finally:
        over.set()
    assert await emptying > 1
    assert {order["state"] for order in orders} == {"reserved"}
    assert paid["state"] == "succeeded"
    assert await town.levels(sku) == (60, 39)
    await town.check_settled()
    assert [each["seq"] for each in await ada.events()] == list(range(1, 43))


def _empty(url: str, over: threading.Event) -> int:
    """Locks, cache, rate limits, leadership and scripts: all that is in it. How often, until it is over."""
    times = 0
    with redis.Redis.from_url(url) as client:
        while not over.is_set():
            client.flushdb()
            client.script_flush()
            times += 1
            time.sleep(0.02)
    return times


def ours(server: Server) -> Server:
    if not server.managed:
        pytest.skip(f"{server.label} comes from the environment: it is not ours to kill")
    return server


def report(summary: Summary) -> str:
    """What was killed when, and what came of it."""
    lines = [
        f"{at:6.1f} s  {what:16} {victim:12} away {away:4.1f} s" for at, what, victim, away in summary.faults
    ]
    counts = (
        f"accepted {summary.accepted}, replayed {summary.replayed}, retried {summary.retried}, "
        f"all settled {summary.settled_after} s after the last"
    )
    hits = (
        f"{summary.worker_kills_in_batch} of {summary.worker_kills} killed workers had a batch at work, "
        f"{summary.cut_short} jobs were cut short"
    )
    found = [counts, hits, str(summary.orders), str(summary.jobs), *summary.violations]
    return "\n".join(["", f"seed {summary.seed}", *lines, *found])


async def _timed(work: Any) -> tuple[Any, float]:
    began = time.monotonic()
    return await work, time.monotonic() - began


async def _until_accepted(who: Person, key: str, body: dict[str, Any]) -> str:
    found: list[str] = []

    async def accepted() -> bool:
        # A connection that was left idle may end under the request.
        with contextlib.suppress(httpx.TransportError):
            answer = await who.send("/v1/orders", body, key=key)
            if answer.status_code == 202:
                found.append(answer.json()["id"])
        return bool(found)

    await eventually(accepted, within=20)
    return found[0]


async def _ended(town: Town, kind: str) -> bool:
    open_jobs = {"kind": kind, "state": {"$in": ["queued", "running"]}}
    return await town.collection("jobs").count_documents(open_jobs) == 0
