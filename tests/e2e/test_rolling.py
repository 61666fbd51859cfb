"""A rolling restart under load: every process is replaced, no request fails, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from domain.values import new_id
from ops import rolling
from ops.fleet import Fleet
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import Person, Town, open_town, order_of, said
from tests.factories import eventually

#: What orders need: each process is started twice.
POOLS = {"orders": 1, "inventory": 1, "notifications": 1}
#: Customers who order all the time.
CUSTOMERS = 6
#: Seconds between two orders of one.
PAUSE = 0.1


@pytest.fixture(scope="module")
async def town(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    environment = {**environment_on(stack), "STOCKYARD_API_WORKERS": "2"}
    folder = tmp_path_factory.mktemp("rolling")
    with Fleet(environment, folder=folder, apis=1, pools=POOLS) as fleet:
        async with open_town(environment, fleet) as town:
            yield town


@dataclass
class Orders:
    """Orders that one customer places until told to stop; what breaks is tried once more, under its key."""

    customer: Person
    sku: str
    stop: asyncio.Event
    ids: list[str] = field(default_factory=list)
    retries: int = 0

    async def keep_placing(self) -> None:
        while not self.stop.is_set():
            key, order = new_id(), order_of({self.sku: 1})
            answer = await self._twice(lambda: self.customer.send("/v1/orders", order, key=key))  # noqa: B023
            assert answer.status_code == 202, answer.text
            self.ids.append(answer.json()["id"])
            await self._twice(lambda: self.customer.get("/v1/products?limit=1"))
            await asyncio.sleep(PAUSE)

    async def _twice(self, request: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await request()
        except httpx.TransportError:
            self.retries += 1
            return await request()


@pytest.mark.timeout(300)
@pytest.mark.long
async def test_all_processes_are_replaced_under_load_and_no_order_is_lost(town: Town):
    sku, stop = await town.product(100_000), asyncio.Event()
    customers = [Orders(await town.customer(), sku, stop) for _ in range(CUSTOMERS)]
    before = {member.name: member.pid for member in town.fleet.members}
    old_workers = rolling.workers_of(town.fleet.apis[0])
    load = [asyncio.create_task(each.keep_placing()) for each in customers]
    try:
        await asyncio.to_thread(rolling.replace_all, town.fleet)
    finally:
        stop.set()
        await asyncio.gather(*load)
    ids = [order_id for each in customers for order_id in each.ids]
    assert len(set(ids)) == len(ids) > 0
    assert sum(each.retries for each in customers) <= CUSTOMERS
    placed = town.collection("orders")
    wanted = {"lines.sku": sku, "state": "reserved"}

    async def all_reserved() -> bool:
        return await placed.count_documents(wanted) == len(ids)

    await eventually(all_reserved, within=30)
    assert {row["_id"] async for row in placed.find(wanted, {"_id": 1})} == set(ids)
    assert await town.levels(sku) == (100_000 - len(ids), len(ids))
    await town.check_settled()
    assert not rolling.workers_of(town.fleet.apis[0]) & old_workers
    for member in [*town.fleet.workers, *town.fleet.schedulers]:
        assert member.pid != before[member.name]
    for log in town.fleet.apis[0].log.parent.glob("*.log"):
        assert "Traceback" not in said(log), said(log)
