"""Never oversold (P3), at its sharpest."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from domain.bootstrap import open_services
from domain.settings import Redis, Settings
from tests.conftest import MovableClock
from tests.factories import Shop

SKUS = {"A": 12, "B": 9, "C": 7, "D": 5, "E": 4}
assert sum(SKUS.values()) == 37


async def test_last_unit_sells_once(shop: Shop) -> None:
    await shop.stock(LAST=1)
    orders = await asyncio.gather(*(shop.place(owner=f"buyer{n}", LAST=1) for n in range(200)))
    assert Counter(order["state"] for order in orders) == {"reserved": 1, "rejected": 199}
    assert await shop.levels("LAST") == (0, 1)
    await shop.check_books()


@pytest.fixture
async def workers(shop: Shop, settings: Settings, clock: MovableClock) -> AsyncIterator[list[Shop]]:
    """Two processes' worth of services over one database."""
    async with open_services(settings, clock=clock) as second:
        yield [shop, Shop(second)]


@pytest.fixture
async def without_redis(shop: Shop, settings: Settings, clock: MovableClock) -> AsyncIterator[list[Shop]]:
    """Three processes' worth of services that cannot reach Redis: nobody holds a lock."""
    away = settings.redis.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    assert isinstance(away, Redis)
    async with AsyncExitStack() as stack:
        yield [
            Shop(
                await stack.enter_async_context(
                    open_services(settings.model_copy(update={"redis": away}), clock=clock)
                )
            )
            for _ in range(3)
        ]


async def sell_all(shops: Sequence[Shop], *, orders: int, seed: int) -> None:
    """Many orders at once, their lines in random order: every unit is sold that fits somebody, none twice."""
    await shops[0].stock(**SKUS)
    chance = random.Random(seed)

    async def order(n: int) -> tuple[dict[str, Any], str]:
        units: dict[str, Any] = {
            sku: chance.randint(1, 2) for sku in chance.sample(sorted(SKUS), chance.randint(1, 3))
        }
        placed = await shops[n % len(shops)].place(owner=f"buyer{n % 20}", **units)
        return units, placed["state"]

    async with asyncio.timeout(60):
        placed = await asyncio.gather(*(order(n) for n in range(orders)))
    sold = Counter[str]()
    for units, state in placed:
        if state == "reserved":
            sold.update(units)
    left = {sku: await shops[0].levels(sku) for sku in SKUS}
    assert left == {sku: (SKUS[sku] - sold[sku], sold[sku]) for sku in SKUS}
    for units, state in placed:
        # Who was rejected would not have fitted into what is left either.
        assert state == "reserved" or any(units[sku] > left[sku][0] for sku in units)
    assert sum(available for available, _ in left.values()) < len(SKUS)
    await shops[0].check_books()


async def test_37_units_of_5_skus_sell_once_to_500_orders_with_lines_in_any_order(shop: Shop) -> None:
    await sell_all([shop], orders=500, seed=1)


async def test_two_processes_sell_the_same_37_units_once(workers: list[Shop]) -> None:
    await sell_all(workers, orders=300, seed=2)


async def test_three_processes_without_locks_sell_the_same_37_units_once(without_redis: list[Shop]) -> None:
    await sell_all(without_redis, orders=150, seed=3)


async def test_two_processes_sell_the_last_unit_once_without_locks(without_redis: list[Shop]) -> None:
    await without_redis[0].stock(LAST=1)
    orders = await asyncio.gather(*(without_redis[n % 3].place(owner=f"buyer{n}", LAST=1) for n in range(60)))
    assert Counter(order["state"] for order in orders) == {"reserved": 1, "rejected": 59}
    await without_redis[0].check_books()
