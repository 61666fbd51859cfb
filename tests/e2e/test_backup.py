"""A backup that is taken while orders flow is right, and what was in flight ends after it was restored."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.values import new_id
from ops import books
from ops.backup import create, restore
from ops.environment import settings_of
from ops.fleet import Fleet
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import Person, Town, open_town
from tests.factories import eventually

#: Customers who order one after the other, for as long as they are let.
CUSTOMERS = 6


@pytest.mark.long
async def test_orders_flow_through_a_backup_and_end_after_a_restore(
    stack: Stack, tmp_path: Path, fleet_of: Callable[..., Fleet]
):
    environment = environment_on(stack) | {"STOCKYARD_S3_BUCKET": f"bucket-{new_id()}"}
    settings = settings_of(environment)
    fleet = fleet_of(settings=environment, apis=1, pools={"orders": 1}, schedulers=1)
    async with open_town(environment, fleet) as town:
        sku, over = await town.product(10_000), asyncio.Event()
        people = [await town.customer() for _ in range(CUSTOMERS)]
        ordering = [asyncio.create_task(_order(who, sku, over)) for who in people]
        await eventually(lambda: _reserved(town, 30), within=30)
        flowing = await asyncio.to_thread(create, settings, tmp_path / "flowing", say=_quiet)
        # With nobody to do them, jobs are in flight for sure.
        await asyncio.to_thread(fleet.workers[0].kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(create, settings, tmp_path / "stopped", say=_quiet)
        over.set()
        accepted = [order_id for some in await asyncio.gather(*ordering) for order_id in some]
    await asyncio.to_thread(fleet.stop)
    assert flowing[1].documents["orders"].count >= 30

    # Of one moment, although nothing stood still: no unit is in two places, or in none.
    first = environment | environment_on(stack)
    await asyncio.to_thread(restore, settings_of(first), tmp_path / "flowing", say=_quiet)
    with books.store(first["STOCKYARD_MONGO_URL"], first["STOCKYARD_MONGO_DATABASE"]) as database:
        assert books.oversold(database) == []
        held = database["holds"].count_documents({})
        assert database["orders"].count_documents({}) == held >= 30

    # A new RabbitMQ and a new Redis, for all that they know.
    second = environment | environment_on(stack)
    await asyncio.to_thread(restore, settings_of(second), tmp_path / "stopped", say=_quiet)
    with books.store(second["STOCKYARD_MONGO_URL"], second["STOCKYARD_MONGO_DATABASE"]) as database:
        waiting = [row["_id"] for row in database["jobs"].find({"state": "queued", "kind": "orders.place"})]
    assert waiting
    assert set(waiting) <= set(accepted)
    again = fleet_of(settings=second, apis=1, pools={"orders": 1}, schedulers=1)
    async with open_town(second, again) as town:
        await eventually(lambda: _none_waits(town), within=40)
        orders = await town.collection("orders").find({"_id": {"$in": waiting}}).to_list()
        assert {order["state"] for order in orders} == {"reserved"}
        assert len(orders) == len(waiting)
        with books.store(second["STOCKYARD_MONGO_URL"], second["STOCKYARD_MONGO_DATABASE"]) as database:
            assert books.oversold(database) == []
        # Nobody has to register again, and the shop goes on.
        ada = Person(people[0].id, people[0].token, town.client)
        assert (await ada.order({sku: 1}))["state"] == "reserved"


async def _order(who: Person, sku: str, over: asyncio.Event) -> list[str]:
    accepted = []
    while not over.is_set():
        accepted.append(await who.submit({sku: 1}))
    return accepted


async def _reserved(town: Town, count: int) -> bool:
    return await town.collection("orders").count_documents({}) >= count


async def _none_waits(town: Town) -> bool:
    return await town.collection("jobs").count_documents({"state": {"$in": ["queued", "running"]}}) == 0


def _quiet(_what: str) -> None:
    """Says nothing."""
