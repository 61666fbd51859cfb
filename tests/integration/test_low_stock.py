"""`stock.low` and `stock.back` are told once per crossing, in the transaction that crosses (P6)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.changes import Changes
from domain.events.rules import SHOP
from domain.inventory import stock
from domain.settings import Orders
from domain.values import new_id, utcnow
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeLocks
from tests.transactions import LABELS, commit_whose_answer_is_lost, just_before_the_commit


async def told(shop: Shop) -> list[tuple[str, str, int]]:
    """(type, stock, available), oldest first."""
    events = await shop.services.events.after(SHOP, 0, limit=1000)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return [
        (
            event["type"].removeprefix("stock."),
            f"{event['data']['location']}:{event['subject']}",
            event["data"]["available"],
        )
        for event in events
    ]


async def row(shop: Shop, stock_id: str = "main:A") -> dict[str, Any]:
    found = await shop.services.database["stock"].find_one({"_id": stock_id})
    assert found is not None
    return found


async def check_state(shop: Shop) -> None:
    """Each stock is marked low exactly while it is, and as often as was told."""
    news = Counter((where, kind) for kind, where, _ in await told(shop))
    async for found in shop.services.database["stock"].find():
        assert found["low"] == (found["low_at"] is not None and found["available"] <= found["low_at"])
        # From the start it is low, and nothing is told of that.
        crossings = news[found["_id"], "low"] - news[found["_id"], "back"]
        assert crossings == (0 if found["low"] else -1), found
    await shop.check_books()


async def test_a_crossing_is_told_once_each_way(shop: Shop):
    await shop.stock(A=8)
    orders = [await shop.place(A=1) for _ in range(5)]
    for order in orders:
        await shop.services.orders.cancel(order["id"], owner="ada")
    assert await told(shop) == [("back", "main:A", 8), ("low", "main:A", 5), ("back", "main:A", 6)]
    (event,) = await shop.services.events.after(SHOP, 1, limit=1)
    assert (event["account_id"], event["subject"]) == (SHOP, "A")
    assert event["data"] == {"sku": "A", "location": "main", "available": 5, "low_at": 5}
    await check_state(shop)


async def test_a_delivery_that_stays_below_the_threshold_and_a_sale_are_no_news(shop: Shop):
    await shop.stock(A=3)
    order = await shop.place(A=1)
    await shop.pay(order["id"])
    await shop.adjust("A", 1)
    assert await told(shop) == []
    await check_state(shop)


async def test_an_expiry_brings_stock_back(shop: Shop, clock: MovableClock):
    await shop.stock(A=6, B=6)
    order = await shop.place(A=2, B=1)
    await shop.reserve(A=4)
    clock.move(minutes=15)
    await shop.services.orders.expire([order["id"]])
    # The reservation is reclaimed by the next sale, which crosses again at once.
    await shop.place(A=6)
    news = await told(shop)
    assert Counter((kind, where) for kind, where, _ in news) == {
        ("back", "main:A"): 2, ("low", "main:A"): 2, ("back", "main:B"): 2, ("low", "main:B"): 1,
    }  # fmt: skip
    await check_state(shop)


async def test_a_batch_that_crosses_tells_once_whatever_its_orders(shop: Shop):
    await shop.stock(A=20)
    await asyncio.gather(*(shop.place(owner=f"buyer{n % 4}", A=1) for n in range(20)))
    news = await told(shop)
    assert [(kind, where) for kind, where, _ in news] == [("back", "main:A"), ("low", "main:A")]
    await check_state(shop)


async def test_crossings_that_race_are_neither_missed_nor_told_twice(
    shop: Shop, rewire: Callable[..., Services]
):
    # Four processes without locks: the guards alone decide.
    shops = [Shop(rewire(locks=FakeLocks())) for _ in range(4)]
    await shop.stock(A=8, B=7)

    async def come_and_go(each: Shop, n: int) -> None:
        for _ in range(4):
            order = await each.place(owner=f"buyer{n}", A=1, B=1)
            if order["state"] == "reserved":
                await each.services.orders.cancel(order["id"], owner=f"buyer{n}")

    results = await asyncio.gather(
        *(come_and_go(each, n) for n, each in enumerate(shops)), return_exceptions=True
    )
    assert {type(each).__name__ for each in results} <= {"NoneType", "TryAgain"}
    await check_state(shop)


async def test_stock_that_others_take_to_its_threshold_meanwhile_is_told_of_once(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=8)
    other = Shop(rewire(locks=FakeLocks()))
    # Each alone stays above the threshold.
    just_before_the_commit(monkeypatch, lambda: other.place(owner="bob", A=2))
    await shop.place(A=2)
    assert [kind for kind, _, _ in await told(shop)] == ["back", "low"]
    assert (await row(shop))["available"] == 4
    await check_state(shop)


@LABELS
async def test_a_crossing_whose_commit_went_unanswered_is_told_once(shop: Shop, label: str):
    await shop.stock(A=6)
    with commit_whose_answer_is_lost(label):
        await shop.place(A=2)
    assert [kind for kind, _, _ in await told(shop)] == ["back", "low"]
    await check_state(shop)


async def test_each_location_has_its_own_threshold(shop: Shop):
    await shop.stock(A=20)
    inventory = shop.services.inventory
    await shop.services.locations.create(code="leith", name="Leith", priority=200, active=True)
    await inventory.threshold("A", low_at=7)
    # A stock that is opened later takes the threshold of the default location.
    await inventory.transfer(
        sku="A", quantity=9, source="main", target="leith", reason="x", actor="tester", key=new_id()
    )
    assert (await row(shop, "leith:A"))["low_at"] == 7
    await inventory.threshold("A", low_at=9, location="leith")
    await inventory.threshold("A", low_at=None, location="leith")
    await inventory.threshold("A", low_at=11)
    assert await told(shop) == [
        ("back", "main:A", 20), ("back", "leith:A", 9), ("low", "leith:A", 9), ("back", "leith:A", 9),
        ("low", "main:A", 11), ("low", "leith:A", 9),
    ]  # fmt: skip


async def test_stock_without_a_threshold_is_never_low(shop: Shop):
    await shop.stock(A=6)
    await shop.services.inventory.threshold("A", low_at=None)
    await shop.place(A=6)
    assert [kind for kind, _, _ in await told(shop)] == ["back"]
    assert not (await row(shop))["low"]


async def test_a_threshold_that_is_raised_while_units_go_is_not_passed_unseen(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=50)
    inventory = rewire(locks=FakeLocks()).inventory
    just_before_the_commit(monkeypatch, lambda: inventory.threshold("A", low_at=45))
    await shop.place(A=10)
    assert [kind for kind, _, _ in await told(shop)] == ["back", "low"]
    assert (await row(shop))["low_at"] == 45


async def test_a_refund_that_brings_stock_back_says_so(shop: Shop):
    await shop.stock(A=6)
    order = await shop.place(A=1)
    await shop.pay(order["id"])
    services, changes = shop.services, Changes()
    lines = [{"stock_id": "main:A", "quantity": 1}]
    seen = await stock.levels(services.database, ["main:A"])
    events = stock.returned(
        changes, seen, refund_id="r", order_id=order["id"], lines=lines, actor="ops", reason="r", at=utcnow()
    )
    assert [(event.type, event.data["available"]) for event in events] == [("stock.back", 6)]
    recorded = services.events.record(
        changes, events, cursors=await services.events.cursors([SHOP]), at=utcnow()
    )
    await changes.commit(services.database)
    assert len(recorded.events) == 1
    await check_state(shop)


async def test_a_hold_that_ends_for_one_account_reads_no_stock_when_it_is_paid(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    """What is paid leaves what is available as it is: its path costs no read."""
    await shop.stock(A=9)
    settings = shop.services.settings.model_copy(update={"orders": Orders(hold_time=timedelta(hours=1))})
    shop = Shop(rewire(settings=settings))
    order = await shop.place(A=1)
    looked: list[object] = []
    levels = stock.levels

    async def spy(database: Any, ids: Any) -> Any:
        looked.extend(ids)
        return await levels(database, ids)

    monkeypatch.setattr(stock, "levels", spy)
    await shop.pay(order["id"])
    assert looked == []
