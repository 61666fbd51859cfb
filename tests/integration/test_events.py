"""What happened is stored before it is told, counted without gaps, and told again where that failed (P6)."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.events.rules import account_channel
from tests.conftest import MovableClock
from tests.factories import Shop, eventually
from tests.fakes import FakeLocks, FakePubSub


async def numbers(services: Services, account_id: str) -> list[int]:
    return [event["seq"] for event in await services.events.after(account_id, 0, limit=1000)]


def told(pubsub: FakePubSub, account_id: str) -> list[int]:
    """The numbers of the account's events in the order in which they were published."""
    channel = account_channel(account_id)
    return [json.loads(payload)["seq"] for where, payload in pubsub.published if where == channel]


@pytest.fixture
def pubsub() -> FakePubSub:
    return FakePubSub()


@pytest.fixture
def office(rewire: Callable[..., Services], pubsub: FakePubSub) -> Services:
    """Services that publish to the fake channels."""
    return rewire(pubsub=pubsub)


async def test_each_account_counts_its_own_events_without_gaps_however_many_happen_at_once(
    shop: Shop, rewire: Callable[..., Services]
):
    await shop.stock(A=1000)
    shops = [shop, Shop(rewire(locks=FakeLocks()))]

    async def journey(n: int) -> None:
        mine, owner = shops[n % 2], f"buyer{n % 7}"
        order = await mine.place(owner=owner, A=1)
        if n % 3 == 0:
            await mine.pay(order["id"], owner=owner)
        elif n % 3 == 1:
            await mine.services.orders.cancel(order["id"], owner=owner)

    await asyncio.gather(*(journey(n) for n in range(42)))
    happened = Counter[str]()
    for n in range(7):
        events = await shop.services.events.after(f"buyer{n}", 0, limit=1000)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert await shop.services.events.last(f"buyer{n}") == len(events)
        happened.update(event["type"] for event in events)
    assert happened == {
        "order.reserved": 42, "order.paid": 14, "payment.captured": 14, "order.cancelled": 14,
    }  # fmt: skip
    await shop.check_books()


async def test_an_accounts_events_are_in_the_order_in_which_they_became_true(shop: Shop):
    await shop.stock(A=10)
    order = await shop.place(A=1)
    await shop.pay(order["id"])
    await shop.place(A=100)
    events = await shop.services.events.after("ada", 0, limit=10)
    assert [(event["seq"], event["type"]) for event in events] == [
        (1, "order.reserved"), (2, "order.paid"), (3, "payment.captured"), (4, "order.rejected"),
    ]  # fmt: skip
    amounts = {"net": 1000, "total": 1000, "currency": "USD"}
    assert events[0]["data"] == {"order_id": order["id"], "state": "reserved"} | amounts
    assert events[0]["subject"] == order["id"]


async def test_a_listener_that_was_away_goes_on_from_its_cursor(shop: Shop):
    await shop.stock(A=10)
    for _ in range(5):
        await shop.place(A=1)

    async def seen(after: int, limit: int = 10) -> list[int]:
        return [event["seq"] for event in await shop.services.events.after("ada", after, limit=limit)]

    assert await seen(0, limit=2) == [1, 2]
    assert await seen(2) == [3, 4, 5]
    assert await seen(5) == []
    assert await shop.services.events.last("ada") == 5
    assert await shop.services.events.last("nobody") == 0


async def test_an_event_is_stored_before_it_is_told(office: Services, pubsub: FakePubSub, monkeypatch):
    shop = Shop(office)
    await shop.stock(A=1)
    publish, stored = pubsub.publish, []

    async def look(messages: Any) -> bool:
        for channel, payload in messages:
            if channel == account_channel("ada"):
                event = json.loads(payload)
                stored.append(await office.database["events"].find_one({"_id": event["id"]}))
        return await publish(messages)

    monkeypatch.setattr(pubsub, "publish", look)
    order = await shop.place(A=1)
    await office.drain()
    assert [event and event["subject"] for event in stored] == [order["id"]]
    assert await office.database["event_outbox"].count_documents({}) == 0


async def test_an_event_reaches_a_subscriber_of_the_account_and_one_of_its_type(
    services: Services, shop: Shop
):
    await shop.stock(A=1)
    async with (
        services.pubsub.subscribe(account_channel("ada")) as mine,
        services.pubsub.subscribe("stockyard:events:order.reserved") as reserved,
    ):
        order = await shop.place(A=1)
        async with asyncio.timeout(5):
            for listener in (mine, reserved):
                payload = await anext(listener)
                assert json.loads(payload)["subject"] == order["id"]


async def test_what_could_not_be_told_is_told_later_in_order_and_once(
    office: Services, pubsub: FakePubSub, clock: MovableClock
):
    shop = Shop(office)
    await shop.stock(A=10)
    pubsub.away = True
    for _ in range(3):
        await shop.place(A=1)
    await office.drain()
    assert await numbers(office, "ada") == [1, 2, 3]
    assert await office.database["event_outbox"].count_documents({}) == 3
    clock.move(seconds=5)
    assert await office.events.republish() == 0
    pubsub.away = False
    assert await office.events.republish() == 3
    assert await office.events.republish() == 0
    assert told(pubsub, "ada") == [1, 2, 3]
    assert await office.database["event_outbox"].count_documents({}) == 0


async def test_what_is_being_told_right_now_is_not_told_twice(
    office: Services, pubsub: FakePubSub, clock: MovableClock
):
    shop = Shop(office)
    await shop.stock(A=1)
    pubsub.away = True
    await shop.place(A=1)
    await office.drain()
    pubsub.away = False
    assert await office.events.republish() == 0
    clock.move(seconds=4)
    assert await office.events.republish() == 1


async def test_many_untold_events_are_told_in_rounds(
    office: Services, pubsub: FakePubSub, clock: MovableClock
):
    shop = Shop(office)
    await shop.stock(A=100)
    pubsub.away = True
    for _ in range(5):
        await shop.place(A=1)
    await office.drain()
    pubsub.away = False
    clock.move(seconds=5)
    assert [await office.events.republish(limit=2, seconds=0) for _ in range(4)] == [2, 2, 1, 0]
    assert told(pubsub, "ada") == [1, 2, 3, 4, 5]


async def test_what_a_long_outage_has_left_is_told_by_one_call_in_order(
    office: Services, pubsub: FakePubSub, clock: MovableClock
):
    shop = Shop(office)
    await shop.stock(A=100)
    pubsub.away = True
    for _ in range(7):
        await shop.place(A=1)
    await office.drain()
    pubsub.away = False
    clock.move(seconds=5)
    assert await office.events.republish(limit=2) == 7
    assert told(pubsub, "ada") == [1, 2, 3, 4, 5, 6, 7]
    assert await office.database["event_outbox"].count_documents({}) == 0


async def test_a_cursor_that_two_processes_create_at_once_is_one(services: Services, rewire):
    both = [services, rewire()]
    found = await asyncio.gather(*(each.events.cursors(["ada", "bob"]) for _ in range(10) for each in both))
    assert found == [{"ada": 0, "bob": 0}] * 20


async def test_without_redis_orders_go_on_and_their_events_wait(services: Services, shop: Shop, rewire):
    pubsub = FakePubSub()
    pubsub.away = True
    away = Shop(rewire(pubsub=pubsub))
    await shop.stock(A=5)
    orders = await asyncio.gather(*(away.place(A=1) for _ in range(5)))
    assert {order["state"] for order in orders} == {"reserved"}
    waiting = services.database["event_outbox"]
    await eventually(lambda: waiting.count_documents({}))
    assert await numbers(services, "ada") == [1, 2, 3, 4, 5]
