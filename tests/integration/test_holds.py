"""A hold ends once, at its time and not before (P4)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from domain.bootstrap import Services
from domain.changes import Changes
from domain.errors import OrderNotCancellable, OrderNotFound, TryAgain
from domain.inventory.holds import TRIES
from domain.orders.commands import CancelOrder
from domain.values import utcnow
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeLocks
from tests.transactions import LABELS, commit_whose_answer_is_lost, replace_commit


@pytest.fixture
def still() -> MovableClock:
    """A clock that stands still until it is moved."""
    clock = MovableClock()
    began = utcnow()
    clock.__class__ = type("StillClock", (MovableClock,), {"__call__": lambda self: began + self.ahead})
    return clock


@pytest.fixture
async def shop(rewire: Callable[..., Services], still: MovableClock) -> Shop:
    shop = Shop(rewire(clock=still))
    await shop.stock(A=10, B=10)
    return shop


@pytest.fixture
def other(rewire: Callable[..., Services], still: MovableClock) -> Shop:
    """Another process, which holds other locks."""
    return Shop(rewire(clock=still, locks=FakeLocks()))


async def state(shop: Shop, order_id: str) -> str:
    return str((await shop.order(order_id))["state"])


async def test_a_hold_expires_at_its_second_and_not_before(shop: Shop, still: MovableClock):
    order = await shop.place(A=2)
    reservation = await shop.reserve(B=1)
    ids = [order["id"], reservation]
    still.move(minutes=14, seconds=59, milliseconds=999)
    assert await shop.services.holds.expired(limit=10) == []
    assert await shop.services.orders.expire(ids) == {"expired": 0}
    assert await state(shop, order["id"]) == "reserved"
    still.move(milliseconds=1)
    assert sorted(await shop.services.holds.expired(limit=10)) == sorted(ids)
    assert await shop.services.orders.expire(ids) == {"expired": 2}
    assert await shop.services.orders.expire(ids) == {"expired": 0}
    assert await state(shop, order["id"]) == "expired"
    assert (await shop.levels("A"), await shop.levels("B")) == ((10, 0), (10, 0))
    events = await shop.services.events.after("ada", 0, limit=10)
    assert Counter(event["type"] for event in events) == {
        "order.reserved": 1, "hold.held": 1, "hold.expired": 2, "order.expired": 1,
    }  # fmt: skip
    # Of an order's hold it is told, too, before its order, and the inbox shows it once.
    told = {each["subject"]: each["data"] for each in events if each["type"] == "hold.expired"}
    assert told == {
        order["id"]: {"reservation_id": order["id"], "cause": "expired", "order_id": order["id"]},
        reservation: {"reservation_id": reservation, "cause": "expired"},
    }
    of_order = [each["type"] for each in events if order["id"] in str(each["data"])]
    assert of_order == ["order.reserved", "hold.expired", "order.expired"]
    entries, _ = await shop.services.inbox.page("ada", before=None, limit=10)
    shown = [(entry.event["type"], entry.event["subject"]) for entry in entries]
    assert sorted(shown) == sorted(
        [("order.reserved", order["id"]), ("order.expired", order["id"]), ("hold.expired", reservation)]
    )
    assert (await shop.services.inbox.unread("ada")).count == 3
    await shop.check_books()


async def test_the_longest_expired_holds_come_first(shop: Shop, still: MovableClock):
    ids = []
    for _ in range(3):
        ids.append((await shop.place(A=1))["id"])
        still.move(seconds=1)
    still.move(minutes=15)
    assert await shop.services.holds.expired(limit=2) == ids[:2]


async def test_what_is_not_expired_is_left_alone_beside_what_is(shop: Shop, still: MovableClock):
    old = await shop.place(A=1)
    still.move(minutes=10)
    young = await shop.place(A=1)
    still.move(minutes=5)
    assert await shop.services.orders.expire([young["id"], old["id"], "nothing"]) == {"expired": 1}
    assert (await state(shop, old["id"]), await state(shop, young["id"])) == ("expired", "reserved")
    await shop.check_books()


async def test_a_hold_that_is_extended_lasts_and_one_that_has_expired_is_not_extended(
    shop: Shop, still: MovableClock
):
    holds, order = shop.services.holds, await shop.place(A=1)
    still.move(minutes=14, seconds=59)
    assert await holds.extend([order["id"]], by=timedelta(seconds=5))
    # An extension never shortens.
    assert await holds.extend([order["id"]], by=timedelta(milliseconds=1))
    still.move(seconds=4)
    assert await shop.services.orders.expire([order["id"]]) == {"expired": 0}
    # It goes on, and is not extended again: its own time is over.
    assert not await holds.extend([order["id"]], by=timedelta(hours=1))
    assert await holds.expired(limit=1) == []
    still.move(seconds=1)
    assert not await holds.extend([order["id"]], by=timedelta(hours=1))
    assert await shop.services.orders.expire([order["id"]]) == {"expired": 1}
    assert not await holds.extend([order["id"]], by=timedelta(hours=1))


async def test_a_hold_ends_once_however_many_end_it(shop: Shop, other: Shop, still: MovableClock):
    orders = [await shop.place(A=1, B=1) for _ in range(8)]
    ids = [order["id"] for order in orders]
    still.move(minutes=15)
    answers = await asyncio.gather(
        *(each.services.orders.expire(ids[n:] + ids[:n]) for n in range(4) for each in (shop, other))
    )
    assert sum(answer["expired"] for answer in answers) == 8
    # Each was reserved, its hold expired, and so did it.
    assert await shop.services.events.last("ada") == 24
    assert (await shop.levels("A"), await shop.levels("B")) == ((10, 0), (10, 0))
    await shop.check_books()


@LABELS
@pytest.mark.parametrize("end", ["expire", "cancel"])
async def test_an_end_whose_commit_went_unanswered_happens_once(
    shop: Shop, still: MovableClock, label: str, end: str
):
    order = await shop.place(A=2)
    with commit_whose_answer_is_lost(label):
        if end == "cancel":
            assert await shop.services.orders.cancel(order["id"], owner="ada") == {"order_state": "cancelled"}
        else:
            still.move(minutes=15)
            await shop.services.orders.expire([order["id"]])
    assert await state(shop, order["id"]) == {"expire": "expired", "cancel": "cancelled"}[end]
    assert await shop.levels("A") == (10, 0)
    await shop.check_books()


async def test_an_end_that_others_always_precede_asks_to_be_run_again(
    shop: Shop, still: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    order = await shop.place(A=1)
    tries = []

    async def late(*_: object) -> None:
        tries.append(1)

    monkeypatch.setattr(shop.services.holds, "_try", late)
    with pytest.raises(TryAgain):
        await shop.services.orders.cancel(order["id"], owner="ada")
    assert len(tries) == TRIES


# -- cancelling --


async def test_a_reserved_order_that_is_cancelled_gives_its_stock_back_once(shop: Shop):
    order = await shop.place(A=2, B=1)
    for _ in range(2):
        assert await shop.services.orders.cancel(order["id"], owner="ada") == {"order_state": "cancelled"}
    assert (await shop.levels("A"), await shop.levels("B")) == ((10, 0), (10, 0))
    assert [each["state"] for each in (await shop.order(order["id"]))["timeline"]] == [
        "pending", "reserved", "cancelled",
    ]  # fmt: skip
    await shop.check_books()


async def test_an_order_that_waits_is_cancelled_before_it_takes_anything(shop: Shop):
    accepted = await shop.submit(A=2)
    assert await shop.services.orders.cancel(accepted.job_id, owner="ada") == {"order_state": "cancelled"}
    await shop.work(accepted.job_id)
    assert await state(shop, accepted.job_id) == "cancelled"
    assert await shop.levels("A") == (10, 0)


async def test_an_order_whose_job_is_dead_can_be_cancelled(shop: Shop):
    accepted = await shop.submit(A=2)
    for _ in range(shop.services.settings.jobs.max_attempts):
        await shop.services.runs.postpone(accepted.job_id, RuntimeError("fault"))
    assert await state(shop, accepted.job_id) == "pending"
    assert await shop.services.orders.cancel(accepted.job_id, owner="ada") == {"order_state": "cancelled"}
    assert await state(shop, accepted.job_id) == "cancelled"


async def test_a_cancel_is_for_the_owner_and_for_orders_that_are_not_paid(shop: Shop, still: MovableClock):
    order = await shop.place(A=1)
    with pytest.raises(OrderNotFound):
        await shop.services.orders.cancel(order["id"], owner="bob")
    with pytest.raises(OrderNotFound):
        await shop.services.orders.cancel("nothing", owner="ada")
    await shop.pay(order["id"])
    rejected = await shop.place(A=1000)
    expired = await shop.place(A=1)
    still.move(minutes=15)
    await shop.services.orders.expire([expired["id"]])
    for each, was in ((order, "paid"), (rejected, "rejected"), (expired, "expired")):
        with pytest.raises(OrderNotCancellable) as refused:
            await shop.services.orders.cancel(each["id"], owner="ada")
        assert refused.value.detail["state"] == was
    await shop.check_books()


async def test_a_payment_is_no_order_to_cancel(shop: Shop):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"])
    with pytest.raises(OrderNotFound):
        await shop.services.orders.cancel(payment, owner="ada")
    assert (await shop.job(payment))["state"] == "queued"
    command = CancelOrder(order_id=payment)
    cancel = await shop.services.jobs.submit(command, owner="ada", key="k")
    assert (await shop.work(cancel.job_id))["error"]["code"] == "order_not_found"
    itself = await shop.services.jobs.submit(
        CancelOrder(order_id="self"), owner="ada", key="self", job_id="self"
    )
    assert (await shop.work(itself.job_id))["error"]["code"] == "order_not_found"


async def test_a_cancel_that_races_its_orders_placing_leaves_no_hold_behind(shop: Shop, other: Shop):
    for _ in range(10):
        accepted = await shop.submit(A=1)
        cancelled, _ = await asyncio.gather(
            other.services.orders.cancel(accepted.job_id, owner="ada"),
            shop.services.order_placing.settle(accepted.job_id),
        )
        assert cancelled == {"order_state": "cancelled"}
        assert await state(shop, accepted.job_id) == "cancelled"
    assert await shop.levels("A") == (10, 0)
    await shop.check_books()


async def test_cancels_expiries_and_sales_of_the_same_stock_at_once_leave_the_books_right(
    shop: Shop, other: Shop, still: MovableClock
):
    old = [await shop.place(owner=f"buyer{n % 3}", A=1, B=1) for n in range(10)]
    still.move(minutes=15)
    results = await asyncio.gather(
        other.services.orders.expire([order["id"] for order in old]),
        *(shop.services.orders.cancel(order["id"], owner=f"buyer{n % 3}") for n, order in enumerate(old)),
        *(other.place(owner=f"new{n}", A=1, B=1) for n in range(12)),
        return_exceptions=True,
    )
    faults = [each for each in results if isinstance(each, Exception)]
    assert all(isinstance(each, OrderNotCancellable) for each in faults), faults
    ended = Counter([await state(shop, order["id"]) for order in old])
    assert ended["expired"] + ended["cancelled"] == 10
    sold = [each for each in results if isinstance(each, dict) and each.get("state") == "reserved"]
    assert await shop.levels("A") == (10 - len(sold), len(sold))
    await shop.check_books()


async def test_many_that_cancel_at_once_without_locks_are_not_in_each_others_way(
    rewire: Callable[..., Services], still: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    away = FakeLocks()
    away.away = True
    shop = Shop(rewire(clock=still, locks=away))
    await shop.stock(A=40)
    orders = [await shop.place(A=1) for _ in range(40)]
    commits: list[Changes] = []

    async def count(changes: Changes, commit: Callable[[], Awaitable[None]]) -> None:
        commits.append(changes)
        await commit()

    replace_commit(monkeypatch, count)
    ends = [shop.services.orders.cancel(order["id"], owner="ada") for order in orders * 2]
    assert await asyncio.gather(*ends) == [{"order_state": "cancelled"}] * 80
    assert len(commits) < 10
    assert await shop.levels("A") == (40, 0)
    await shop.check_books()
