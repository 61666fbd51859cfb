"""Pools in figures: counted in each process, written down seldom, and shown over HTTP and in `/metrics`."""

import asyncio
from collections.abc import Callable

import pytest
from pymongo.errors import AutoReconnect

from domain.bootstrap import Services
from domain.control import pools
from domain.errors import NotFound
from domain.jobs.meter import Meter
from domain.jobs.pool_models import SLOTS
from domain.jobs.pool_reports import PoolReport
from domain.settings import Settings
from tests.api import open_api
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeJobQueue


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STOCKYARD_POOLS_FAIR_SHARE", "3")
    monkeypatch.setenv("STOCKYARD_POOLS_TARGET_WAITS", '{"orders": "5s"}')
    # However slow this machine is, a look is as of now.
    monkeypatch.setattr(pools, "LONG", 3600.0)
    return Settings()


@pytest.fixture
def broker() -> FakeJobQueue:
    return FakeJobQueue(consumers=0)


@pytest.fixture
def office(rewire: Callable[..., Services], broker: FakeJobQueue) -> Services:
    return rewire(queue=broker)


@pytest.fixture
async def shop(office: Services) -> Shop:
    shop = Shop(office)
    await shop.stock(A=1000)
    return shop


async def orders_of(office: Services) -> PoolReport:
    return await office.pools.look_at("orders")


async def test_what_was_accepted_and_ended_shows_in_the_figures_of_all_processes(
    office: Services, rewire: Callable[..., Services], shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    other = Shop(rewire(queue=broker))
    for each in (shop, other):
        each.services.meter.works_for(("orders",), threads=4)
        for job in (await each.submit(owner="ada", A=1), await each.submit(owner="bob", A=5000)):
            await each.work(job.job_id)
        await each.services.meter.flush()
    clock.move(seconds=20)
    found = await orders_of(office)
    assert found.arrivals == pytest.approx(4 / 60)
    assert found.completions == pytest.approx(4 / 60)
    assert (found.refusals_per_minute, found.failures_per_minute) == (2, 0)
    assert found.mean_run is not None
    assert found.p95_run is not None
    assert found.mean_batch == 1
    assert found.arrivals_5m == pytest.approx(4 / 300)
    clock.move(seconds=60)
    assert (await orders_of(office)).completions == 0
    minutes = await office.pools.history("orders")
    assert len(minutes) == 60
    assert sum(each.done for each in minutes[-3:]) == 4


async def test_many_jobs_are_one_write(office: Services, shop: Shop):
    for _ in range(20):
        await shop.submit(A=1)
    assert await office.database[SLOTS].count_documents({}) == 0
    await office.meter.flush()
    rows = await office.database[SLOTS].find({}).to_list()
    assert sum(row["pools"]["orders"]["arrived"] for row in rows) == 20
    assert len(rows) <= 2
    await office.meter.flush()
    again = await office.database[SLOTS].find({}).to_list()
    assert again == rows


async def test_counts_of_two_processes_at_once_add_up(office: Services, shop: Shop):
    meters = [Meter(database=office.database, clock=office.clock) for _ in range(5)]
    for meter in meters:
        meter.arrived("orders.place", "orders")
    await asyncio.gather(*(meter.flush() for meter in meters))
    await asyncio.gather(*(meter.flush() for meter in meters))
    rows = await office.database[SLOTS].find({}).to_list()
    assert sum(row["pools"]["orders"]["arrived"] for row in rows) == 5


async def test_counts_that_cannot_be_written_are_kept(office: Services, monkeypatch: pytest.MonkeyPatch):
    meter = Meter(database=office.database, clock=office.clock)
    meter.arrived("orders.place", "orders")

    class Away:
        def __getitem__(self, _: str) -> "Away":
            return self

        async def update_one(self, *_: object, **__: object) -> None:
            raise AutoReconnect("away")

    with monkeypatch.context() as patch:
        patch.setattr(meter, "_database", Away())
        await meter.flush()
    await meter.flush()
    (row,) = await office.database[SLOTS].find({}).to_list()
    assert row["pools"]["orders"]["arrived"] == 1


async def test_threads_count_as_busy_while_they_have_a_job(office: Services, clock: MovableClock):
    meter = office.meter
    meter.works_for(("media",), threads=2)
    with meter.running("media"):
        await asyncio.sleep(0.2)
        assert dict(meter.in_hand()) == {"media": 1}
        await meter.flush()
    assert dict(meter.in_hand()) == {}
    rows = await office.database[SLOTS].find({}).to_list()
    counted = rows[0]["pools"]["media"]
    assert counted["busy_seconds"] == pytest.approx(counted["worker_seconds"], abs=0.1)
    assert counted["thread_seconds"] == pytest.approx(2 * counted["worker_seconds"])


async def test_what_waits_is_counted_wherever_it_waits(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    for _ in range(5):
        await shop.submit(owner="ada", A=1)
    await shop.submit(owner="bob", A=1)
    clock.move(seconds=2)
    found = await orders_of(office)
    assert (found.ready, found.in_ledger, found.depth) == (4, 2, 6)
    assert found.oldest == pytest.approx(2, abs=1)
    assert (found.workers, found.attention) == (0, True)
    assert found.words == "`orders` has no worker and 6 jobs waiting; start 1"
    # Those that were sent have ended: Ada's other two wait for their turn.
    for message in broker.take("orders"):
        await shop.work(message.job_id)
    found = await orders_of(office)
    assert (found.ready, found.in_ledger) == (0, 2)
    assert found.oldest == pytest.approx(2, abs=1)
    broker.away = True
    assert (await orders_of(office)).ready is None


async def test_old_counts_are_dropped(office: Services, clock: MovableClock):
    office.meter.arrived("orders.place", "orders")
    await office.meter.flush()
    assert await office.pools.sweep() == 0
    clock.move(hours=1, minutes=6)
    assert await office.pools.sweep() == 1


async def test_there_are_no_figures_of_a_pool_that_does_not_exist(office: Services):
    with pytest.raises(NotFound):
        await office.pools.look_at("dreams")
    with pytest.raises(NotFound):
        await office.pools.history("dreams")


async def test_ops_read_the_pools_over_http_and_nobody_else_does(settings: Settings):
    async with open_api(settings) as api:
        ops, ada = api.user("ops:read", scopes=frozenset(), role="ops"), api.user()
        for path in ("/v1/ops/pools", "/v1/ops/pools/orders", "/v1/ops/pools/orders/history"):
            assert (await ada.get(path)).status_code == 403
            assert (await api.client.get(path)).status_code == 401
            assert (await ops.get(path)).status_code == 200
        for path in ("/v1/ops/pools/dreams", "/v1/ops/pools/dreams/history"):
            assert (await ops.get(path)).status_code == 404
        await api.shop.stock(A=10)
        await api.shop.submit(A=1)
        # Its queue is RabbitMQ's own.
        one = (await ops.get("/v1/ops/pools/orders")).json()
        assert (one["pool"], one["depth"], one["target_wait_seconds"]) == ("orders", 1, 5)
        assert one["words"] == "`orders` has no worker and 1 job waiting; start 1"
        every = (await ops.get("/v1/ops/pools")).json()
        assert {"orders", "inventory"} <= {each["pool"] for each in every["pools"]}
        past = (await ops.get("/v1/ops/pools/orders/history")).json()["minutes"]
        assert len(past) == 60
        assert past[0]["at"] < past[-1]["at"]
        text = (await api.client.get("/metrics")).text
        assert 'stockyard_pool_waiting{pool="orders"} ' in text
        assert 'stockyard_pool_drain_seconds{pool="inventory"} 0.0' in text
        assert 'stockyard_pool_target_seconds{pool="orders"} 5.0' in text


async def test_a_look_serves_all_who_ask_in_the_next_moment(
    office: Services, monkeypatch: pytest.MonkeyPatch
):
    first = await office.pools.look()
    monkeypatch.setattr(office.pools, "_queues", None)
    assert await office.pools.look() == first


async def test_a_look_at_one_pool_that_took_long_serves_for_a_while_and_a_quick_one_does_not(
    office: Services, monkeypatch: pytest.MonkeyPatch, shop: Shop
):
    monkeypatch.setattr(pools, "LONG", 3600.0)
    assert (await orders_of(office)).depth == 0
    await shop.submit(A=1)
    monkeypatch.setattr(pools, "LONG", 0.0)
    monkeypatch.setattr(pools, "DEARNESS", 3600.0)
    assert (await orders_of(office)).depth == 1
    await shop.submit(A=1)
    assert (await orders_of(office)).depth == 1
    assert (await office.pools.look_at("media")).depth == 0
