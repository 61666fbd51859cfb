"""A discount limit is never passed (P5), over HTTP and on real processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from ops.fleet import Fleet
from tests.discounts import check_uses
from tests.e2e.town import Town, open_town, order_of
from tests.factories import check_books


@pytest.fixture
async def town(environment: dict[str, str], fleet_of: Callable[..., Fleet]) -> AsyncIterator[Town]:
    """One API and two workers for orders."""
    fleet = fleet_of(apis=1, pools={"orders": 2})
    async with open_town(environment, fleet) as town:
        yield town


async def test_of_300_orders_at_once_with_a_code_of_100_uses_exactly_100_get_it(town: Town):
    sku = await town.product(1000)
    code = {"code": "HUNDRED", "percent": 10, "limit": 100}
    discount = (await town.ops.post("/v1/discounts", code))["id"]
    people = [await town.customer() for _ in range(3)]
    body = order_of({sku: 1}) | {"codes": ["hundred"]}
    accepted = await asyncio.gather(*(people[n % 3].post("/v1/orders", body) for n in range(300)))
    orders = await asyncio.gather(*(people[n % 3].settled(each["id"]) for n, each in enumerate(accepted)))
    assert Counter((order["state"], order["discount"]) for order in orders) == {
        ("reserved", 100): 100,
        ("rejected", 0): 200,
    }
    assert await town.levels(sku) == (900, 100)
    reserved = [n for n, order in enumerate(orders) if order["state"] == "reserved"]
    paid, cancelled = reserved[0], reserved[1]
    assert (await people[paid % 3].pay(orders[paid]["id"]))["state"] == "succeeded"
    assert (await people[cancelled % 3].cancel(orders[cancelled]["id"]))["state"] == "succeeded"
    usage = await town.ops.get(f"/v1/discounts/{discount}/usage")
    assert [usage[state]["uses"] for state in ("held", "committed", "released")] == [98, 1, 1]
    assert (len(usage["customers"]), usage["uses_left"]) == (3, 1)
    await check_books(town.services)
    await check_uses(town.services)
