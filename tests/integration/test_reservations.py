"""Stock held before there is an order: reserved, taken by an order, released, or expired, once (P4)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.errors import HoldNotFound
from domain.inventory.commands import Item, Release, Reserve
from domain.orders.commands import CancelOrder
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop, withdraw
from tests.fakes import FakeLocks
from tests.transactions import just_before_the_commit


async def state_of(shop: Shop, reservation: str, *, owner: str = "ada") -> str:
    return str((await shop.services.reservations.get(reservation, owner=owner))["state"])


async def release(shop: Shop, reservation: str, *, owner: str = "ada") -> dict[str, str]:
    return await shop.services.reservations.release(reservation, owner=owner)


async def events_of(shop: Shop, owner: str = "ada") -> list[str]:
    return [event["type"] for event in await shop.services.events.after(owner, 0, limit=100)]


async def test_a_reservation_holds_stock_until_it_is_released(shop: Shop):
    await shop.stock(A=5, B=5)
    reservation = await shop.reserve(A=2, B=1)
    assert await state_of(shop, reservation) == "held"
    assert (await shop.levels("A"), await shop.levels("B")) == ((3, 2), (4, 1))
    for _ in range(2):
        assert await release(shop, reservation) == {"reservation_id": reservation}
    assert await state_of(shop, reservation) == "released"
    assert (await shop.levels("A"), await shop.levels("B")) == ((5, 0), (5, 0))
    assert await events_of(shop) == ["hold.held", "hold.released"]
    await shop.check_books()


async def test_a_reservation_that_does_not_fit_is_refused_and_holds_nothing(shop: Shop):
    await shop.stock(A=1, B=5)
    reservation = await shop.reserve(A=2, B=1)
    assert await state_of(shop, reservation) == "rejected"
    job = await shop.job(reservation)
    assert (job["state"], job["error"]["code"]) == ("failed", "out_of_stock")
    assert job["error"]["detail"] == {"lines": [{"sku": "A", "wanted": 2, "available": 1}]}
    unknown = await shop.job(await shop.reserve(GHOST=1))
    assert (unknown["state"], unknown["error"]["code"]) == ("failed", "unknown_sku")
    await shop.check_books()


async def test_what_is_not_for_sale_cannot_be_reserved(shop: Shop):
    await shop.stock(A=5, B=5)
    await withdraw(shop.services, "A")
    await shop.services.database["skus"].update_one({"_id": "B"}, {"$set": {"public": False}})
    for sku, code in (("A", "not_for_sale"), ("B", "unknown_sku")):
        units: Any = {sku: 1}
        job = await shop.job(await shop.reserve(**units))
        assert (job["state"], job["error"]["code"]) == ("failed", code)
        assert await shop.levels(sku) == (5, 0)


async def test_a_reservation_is_pending_until_a_worker_has_settled_it(shop: Shop):
    await shop.stock(A=1)
    command = Reserve(items=(Item(sku="A", quantity=1),))
    job_id = (await shop.services.jobs.submit(command, owner="ada", key=new_id())).job_id
    assert await state_of(shop, job_id) == "pending"
    assert (await shop.work(job_id))["result"] == {"state": "held"}
    assert await state_of(shop, job_id) == "held"


async def test_a_reservation_is_seen_and_released_by_its_owner_alone(shop: Shop):
    await shop.stock(A=1)
    reservation = await shop.reserve(A=1)
    with pytest.raises(HoldNotFound):
        await shop.services.reservations.get(reservation, owner="bob")
    with pytest.raises(HoldNotFound):
        await release(shop, reservation, owner="bob")
    with pytest.raises(HoldNotFound):
        await release(shop, "nothing")
    assert await shop.levels("A") == (0, 1)


async def test_neither_an_order_nor_its_job_is_a_reservation(shop: Shop):
    await shop.stock(A=2)
    order = await shop.place(A=1)
    with pytest.raises(HoldNotFound):
        await release(shop, order["id"])
    rejected = await shop.place(A=9)
    with pytest.raises(HoldNotFound):
        await shop.services.reservations.get(rejected["id"], owner="ada")
    await shop.check_books()


async def test_an_order_takes_the_reserved_stock_and_no_other(shop: Shop):
    await shop.stock(A=2)
    reservation = await shop.reserve(A=2)
    order = await shop.place(reservation=reservation, A=2)
    assert (order["state"], order["hold_id"], order["net"]) == ("reserved", reservation, 2000)
    assert await shop.levels("A") == (0, 2)
    await shop.check_books()
    assert (await shop.pay(order["id"]))["order_state"] == "paid"
    assert await shop.levels("A") == (0, 0)
    assert await events_of(shop) == ["hold.held", "order.reserved", "order.paid", "payment.captured"]
    await shop.check_books()


@pytest.mark.parametrize("end", ["cancel", "expire"])
async def test_an_order_over_a_reservation_ends_with_it(shop: Shop, clock: MovableClock, end: str):
    await shop.stock(A=2)
    reservation = await shop.reserve(A=2)
    order = await shop.place(reservation=reservation, A=2)
    if end == "cancel":
        await shop.services.orders.cancel(order["id"], owner="ada")
    else:
        clock.move(minutes=15)
        assert await shop.services.orders.expire([reservation]) == {"expired": 1}
    assert (await shop.order(order["id"]))["state"] == {"cancel": "cancelled", "expire": "expired"}[end]
    assert await shop.levels("A") == (2, 0)
    await shop.check_books()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("fewer units", "reservation_mismatch"),
        ("another sku", "reservation_mismatch"),
        ("foreign", "reservation_not_found"),
        ("unknown", "reservation_not_found"),
        ("expired", "reservation_ended"),
        ("released", "reservation_ended"),
        ("used", "reservation_ended"),
        ("an order's", "reservation_not_found"),
    ],
)
async def test_an_order_is_rejected_over_a_reservation_that_does_not_serve(
    shop: Shop, clock: MovableClock, fault: str, code: str
):
    await shop.stock(A=10, B=10)
    reservation = await shop.reserve(owner="bob" if fault == "foreign" else "ada", A=2)
    units: dict[str, Any] = {"fewer units": {"A": 1}, "another sku": {"B": 2}}.get(fault, {"A": 2})
    if fault == "expired":
        clock.move(minutes=15)
    if fault == "released":
        await release(shop, reservation)
    if fault == "used":
        await shop.place(reservation=reservation, A=2)
    if fault == "unknown":
        reservation = new_id()
    if fault == "an order's":
        reservation = (await shop.place(A=2))["id"]
    before = [await shop.levels(sku) for sku in "AB"]
    order = await shop.place(reservation=reservation, **units)
    assert (order["state"], order["rejection"]["code"], order["hold_id"]) == ("rejected", code, None)
    assert [await shop.levels(sku) for sku in "AB"] == before
    await shop.check_books()


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_reservation_serves_one_order_however_many_try_at_once(
    shop: Shop, rewire: Callable[..., Services], processes: int
):
    await shop.stock(A=10)
    reservation = await shop.reserve(A=2)
    shops = [shop, Shop(rewire(locks=FakeLocks()))][:processes]
    orders = await asyncio.gather(
        *(shops[n % processes].place(reservation=reservation, A=2) for n in range(10))
    )
    assert Counter(order["state"] for order in orders) == {"reserved": 1, "rejected": 9}
    assert await shop.levels("A") == (8, 2)
    await shop.check_books()


async def test_a_release_that_an_order_precedes_leaves_the_order_its_stock(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=2)
    reservation = await shop.reserve(A=2)
    other = Shop(rewire(locks=FakeLocks()))
    done = just_before_the_commit(monkeypatch, lambda: other.place(reservation=reservation, A=2))
    with pytest.raises(HoldNotFound):
        await release(shop, reservation)
    assert done[0]["state"] == "reserved"
    await shop.check_books()
    assert (await shop.pay(done[0]["id"]))["order_state"] == "paid"


async def test_an_order_that_a_release_precedes_is_rejected(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=2)
    reservation = await shop.reserve(A=2)
    other = Shop(rewire(locks=FakeLocks()))
    just_before_the_commit(monkeypatch, lambda: release(other, reservation))
    order = await shop.place(reservation=reservation, A=2)
    assert (order["state"], order["rejection"]["code"]) == ("rejected", "reservation_ended")
    assert await shop.levels("A") == (2, 0)
    await shop.check_books()


async def test_an_order_whose_clock_is_behind_and_an_expiry_have_one_winner(
    shop: Shop, rewire: Callable[..., Services], clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=2)
    reservation = await shop.reserve(A=2)
    behind = MovableClock()
    behind.move(minutes=14, seconds=59)
    clock.move(minutes=15)
    other = Shop(rewire(locks=FakeLocks(), clock=behind))
    done = just_before_the_commit(monkeypatch, lambda: other.place(reservation=reservation, A=2))
    expired = await shop.services.orders.expire([reservation])
    order = await shop.order(done[0]["id"])
    # The order was first; the expiry saw it and ended both.
    assert (expired, done[0]["state"], order["state"]) == ({"expired": 1}, "reserved", "expired")
    assert await shop.levels("A") == (2, 0)
    await shop.check_books()


async def test_a_release_that_races_orders_has_one_winner(shop: Shop, rewire: Callable[..., Services]):
    await shop.stock(A=40)
    other = Shop(rewire(locks=FakeLocks()))
    for _ in range(10):
        reservation = await shop.reserve(A=1)
        answers: list[Any] = await asyncio.gather(
            release(shop, reservation), other.place(reservation=reservation, A=1), return_exceptions=True
        )
        released, order = answers
        assert isinstance(order, dict)
        assert isinstance(released, HoldNotFound) == (order["state"] == "reserved")
        await shop.check_books()


async def test_the_jobs_of_a_reservation_end_with_their_results(shop: Shop):
    await shop.stock(A=1)
    reservation = await shop.reserve(A=1)
    command = Release(reservation_id=reservation)
    job_id = (await shop.services.jobs.submit(command, owner="ada", key="k")).job_id
    assert (await shop.work(job_id))["result"] == {"reservation_id": reservation}
    foreign = (await shop.services.jobs.submit(command, owner="bob", key="k")).job_id
    job = await shop.work(foreign)
    assert (job["state"], job["error"]["code"]) == ("failed", "reservation_not_found")


async def test_a_reservation_is_no_order_to_cancel(shop: Shop):
    await shop.stock(A=1)
    waiting = await shop.services.jobs.submit(
        Reserve(items=(Item(sku="A", quantity=1),)), owner="ada", key=new_id()
    )
    cancel = await shop.services.jobs.submit(CancelOrder(order_id=waiting.job_id), owner="ada", key="k")
    job = await shop.work(cancel.job_id)
    assert (job["state"], (job["error"] or {}).get("code")) == ("failed", "order_not_found")
    assert (await shop.job(waiting.job_id))["state"] == "queued"
