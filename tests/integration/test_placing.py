"""Taking stock in batches: one key, one effect (P2); never oversold (P3)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from domain.bootstrap import Services
from domain.changes import Changes, GuardFailed
from domain.errors import TryAgain
from domain.inventory.placing import TRIES
from domain.orders.commands import OrderItem, PlaceOrder
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import ADDRESS, Shop, eventually
from tests.fakes import FakeLocks
from tests.transactions import LABELS, commit_whose_answer_is_lost, just_before_the_commit, replace_commit


async def states(shop: Shop, *order_ids: str) -> Counter[str]:
    return Counter([(await shop.order(order_id))["state"] for order_id in order_ids])


# -- one key, one effect --


async def test_one_key_fifty_times_at_once_is_one_order(shop: Shop):
    await shop.stock(A=100)

    async def once() -> bool:
        accepted = await shop.submit(key="k", A=2)
        await shop.services.order_placing.settle(accepted.job_id)
        return accepted.replayed

    assert Counter(await asyncio.gather(*(once() for _ in range(50)))) == {False: 1, True: 49}
    assert await shop.levels("A") == (98, 2)
    assert await shop.services.database["orders"].count_documents({}) == 1
    await shop.check_books()


async def test_a_job_that_is_settled_twice_is_one_order(shop: Shop):
    await shop.stock(A=10)
    order = await shop.place(A=1)
    await shop.services.order_placing.settle(order["id"])
    await asyncio.gather(*(shop.services.order_placing.settle(order["id"]) for _ in range(10)))
    assert await shop.levels("A") == (9, 1)
    job = await shop.job(order["id"])
    assert (job["attempts"], [each["state"] for each in job["history"]]) == (1, ["queued", "succeeded"])


async def test_batches_wait_for_one_whose_transaction_takes_long_and_none_has_to_run_again(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    # Decision 4: with a shorter wait they go on without the lock of one that is at work, and both run again.
    assert shop.services.settings.workers.lock_wait >= timedelta(seconds=10)
    await shop.stock(A=10)
    jobs = [(await shop.submit(owner=f"buyer{n}", A=1)).job_id for n in range(3)]
    commits, goes_on = 0, asyncio.Event()

    async def slow(_: Changes, commit: Callable[[], Awaitable[None]]) -> None:
        nonlocal commits
        commits += 1
        if commits == 1:
            await goes_on.wait()
        await commit()

    replace_commit(monkeypatch, slow)
    processes = [shop.services, rewire(), rewire()]
    runs = [
        asyncio.create_task(each.order_placing.settle(job)) for each, job in zip(processes, jobs, strict=True)
    ]
    await eventually(lambda: commits == 1)
    await asyncio.sleep(0.3)
    assert commits == 1
    goes_on.set()
    await asyncio.gather(*runs)
    assert commits == 3
    assert await states(shop, *jobs) == {"reserved": 3}


async def test_a_job_that_is_settled_again_inside_a_batch_of_new_ones_is_one_order(shop: Shop):
    await shop.stock(A=100)
    old = await shop.place(A=1)
    new = [(await shop.submit(A=1)).job_id for _ in range(10)]
    await asyncio.gather(
        *(shop.services.order_placing.settle(job_id) for job_id in [*new[:5], old["id"], *new, old["id"]])
    )
    assert await shop.levels("A") == (89, 11)
    assert await states(shop, old["id"], *new) == {"reserved": 11}
    batches = [(await shop.job(job_id))["history"][-1]["batch"] for job_id in new]
    assert len({batch["id"] for batch in batches}) == 1
    assert batches[0]["size"] == len(new)
    await shop.check_books()


async def test_a_job_that_two_processes_settle_at_once_is_one_order(
    shop: Shop, rewire: Callable[..., Services]
):
    await shop.stock(A=100)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(20)]
    both = [shop.services, rewire(locks=FakeLocks())]
    await asyncio.gather(*(each.order_placing.settle(job_id) for job_id in jobs for each in both))
    assert await shop.levels("A") == (80, 20)
    await shop.check_books()


@LABELS
@pytest.mark.parametrize("size", [1, 5])
async def test_a_batch_whose_commit_was_applied_without_an_answer_is_placed_once_and_its_callers_see_success(
    shop: Shop, label: str, size: int
):
    await shop.stock(A=10)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(size)]
    with commit_whose_answer_is_lost(label):
        await asyncio.gather(*(shop.services.order_placing.settle(job_id) for job_id in jobs))
    assert await states(shop, *jobs) == {"reserved": size}
    assert await shop.levels("A") == (10 - size, size)
    events = await shop.services.events.after("ada", 0, limit=100)
    assert [event["seq"] for event in events] == list(range(1, size + 1))
    await shop.check_books()


@pytest.mark.parametrize("size", [1, 5])
async def test_a_batch_that_never_learns_of_its_commit_is_a_no_op_when_its_messages_come_again(
    shop: Shop, size: int
):
    await shop.stock(A=10)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(size)]
    settle = shop.services.order_placing.settle
    with commit_whose_answer_is_lost(None):
        lost = await asyncio.gather(*(settle(job_id) for job_id in jobs), return_exceptions=True)
    assert [type(each) for each in lost] == [AutoReconnect] * size, lost
    assert await asyncio.gather(*(settle(job_id) for job_id in jobs)) == [None] * size
    assert await shop.levels("A") == (10 - size, size)
    assert await shop.services.events.last("ada") == size
    await shop.check_books()


# -- never oversold --


async def test_an_order_that_does_not_fit_is_rejected_by_itself(shop: Shop):
    await shop.stock(A=3, B=10)
    wanted: list[dict[str, Any]] = [{"A": 2}, {"A": 2, "B": 1}, {"B": 4}, {"A": 1}]
    jobs = [(await shop.submit(**units)).job_id for units in wanted]
    await asyncio.gather(*(shop.services.order_placing.settle(job_id) for job_id in jobs))
    orders = [await shop.order(job_id) for job_id in jobs]
    assert [order["state"] for order in orders] == ["reserved", "rejected", "reserved", "reserved"]
    assert orders[1]["rejection"]["code"] == "out_of_stock"
    assert orders[1]["rejection"]["detail"] == {"lines": [{"sku": "A", "wanted": 2, "available": 1}]}
    assert (await shop.job(jobs[1]))["error"]["code"] == "out_of_stock"
    assert (await shop.levels("A"), await shop.levels("B")) == ((0, 3), (6, 4))
    await shop.check_books()


async def test_orders_of_one_batch_are_decided_in_the_order_of_their_ids(shop: Shop):
    await shop.stock(A=1)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(5)]
    await asyncio.gather(*(shop.services.order_placing.settle(job_id) for job_id in reversed(jobs)))
    assert [(await shop.order(job_id))["state"] for job_id in jobs] == ["reserved", *["rejected"] * 4]


async def test_an_order_of_an_unknown_sku_is_rejected_and_makes_no_stock(shop: Shop):
    await shop.stock(A=1)
    order = await shop.place(A=1, GHOST=1)
    assert (order["state"], order["rejection"]["code"]) == ("rejected", "unknown_sku")
    assert order["rejection"]["detail"] == {"skus": ["GHOST"]}
    assert await shop.services.database["stock"].count_documents({}) == 1
    await shop.check_books()


async def test_lines_of_one_sku_are_taken_together(shop: Shop):
    await shop.stock(A=3)
    command = PlaceOrder(items=(OrderItem(sku="A", quantity=2),) * 2, address=ADDRESS)
    accepted = await shop.services.jobs.submit(command, owner="ada", key=new_id())
    await shop.services.order_placing.settle(accepted.job_id)
    order = await shop.order(accepted.job_id)
    assert order["rejection"]["detail"] == {"lines": [{"sku": "A", "wanted": 4, "available": 3}]}
    await shop.check_books()


async def test_stock_that_is_taken_between_look_and_commit_is_looked_at_again(
    shop: Shop, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=1)
    other = Shop(rewire(locks=FakeLocks()))
    accepted = await shop.submit(A=1)
    rival = just_before_the_commit(monkeypatch, lambda: other.place(owner="bob", A=1))
    await shop.services.order_placing.settle(accepted.job_id)
    assert rival[0]["state"] == "reserved"
    assert (await shop.order(accepted.job_id))["state"] == "rejected"
    assert await shop.levels("A") == (0, 1)
    await shop.check_books()


async def test_a_job_that_is_cancelled_between_look_and_commit_drops_out_of_its_batch(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=10)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(3)]
    cancelled = just_before_the_commit(monkeypatch, lambda: shop.services.orders.cancel(jobs[1], owner="ada"))
    await asyncio.gather(*(shop.services.order_placing.settle(job_id) for job_id in jobs))
    assert cancelled == [{"order_state": "cancelled"}]
    assert [(await shop.order(job_id))["state"] for job_id in jobs] == ["reserved", "cancelled", "reserved"]
    assert await shop.levels("A") == (8, 2)


async def test_a_batch_that_others_always_precede_asks_to_be_run_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=1)
    accepted = await shop.submit(A=1)
    tries = []

    async def never(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise GuardFailed(["stock to take"])

    with monkeypatch.context() as patch:
        replace_commit(patch, never)
        with pytest.raises(TryAgain):
            await shop.services.order_placing.settle(accepted.job_id)
    assert len(tries) == TRIES
    assert (await shop.work(accepted.job_id))["state"] == "succeeded"


async def test_one_order_that_breaks_its_batch_does_not_break_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=10)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(4)]
    # What no rule foresaw: a payload that cannot be read.
    broken = {"$set": {"payload.items.0.quantity": None}}
    await shop.services.database["jobs"].update_one({"_id": jobs[2]}, broken)
    done = await asyncio.gather(*(shop.work(job_id) for job_id in jobs))
    assert [job["state"] for job in done] == ["succeeded", "succeeded", "queued", "succeeded"]
    assert (done[2]["attempts"], done[2]["error"]["code"]) == (1, "internal")
    for _ in range(4):
        await shop.work(jobs[2])
    assert (await shop.job(jobs[2]))["state"] == "dead"
    assert await shop.levels("A") == (7, 3)
    await shop.check_books()


async def test_a_store_that_is_away_is_nobodys_failure_and_no_batch_tries_each_of_its_jobs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=10)
    jobs = [(await shop.submit(A=1)).job_id for _ in range(8)]
    tries = []

    async def away(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise AutoReconnect("away")

    with monkeypatch.context() as patch:
        replace_commit(patch, away)
        settles = [shop.services.order_placing.settle(job_id) for job_id in jobs]
        errors = await asyncio.gather(*settles, return_exceptions=True)
    assert all(isinstance(error, AutoReconnect) for error in errors)
    assert len(tries) == 1
    assert {(await shop.job(job_id))["attempts"] for job_id in jobs} == {0}


# -- lazy reclaim: the scheduler is down in all of these --


async def test_an_expired_hold_does_not_block_a_sale(shop: Shop, clock: MovableClock):
    await shop.stock(A=1, B=5)
    first = await shop.place(owner="ada", A=1, B=2)
    assert (await shop.place(owner="bob", A=1))["state"] == "rejected"
    clock.move(minutes=15)
    assert (await shop.place(owner="bob", A=1))["state"] == "reserved"
    assert (await shop.order(first["id"]))["state"] == "expired"
    # The other SKU of the expired hold is free as well.
    assert await shop.levels("B") == (5, 0)
    await shop.check_books()


async def test_an_expired_reservation_does_not_block_a_sale_nor_an_expired_order_a_reservation(
    shop: Shop, clock: MovableClock
):
    await shop.stock(A=2)
    reservation = await shop.reserve(owner="ada", A=2)
    clock.move(minutes=15)
    order = await shop.place(owner="bob", A=2)
    assert order["state"] == "reserved"
    assert (await shop.services.reservations.get(reservation, owner="ada"))["state"] == "released"
    clock.move(minutes=15)
    again = await shop.reserve(owner="ada", A=2)
    assert (await shop.services.reservations.get(again, owner="ada"))["state"] == "held"
    assert (await shop.order(order["id"]))["state"] == "expired"
    await shop.check_books()


async def test_as_many_expired_holds_as_it_takes_are_reclaimed_for_one_sale(
    shop: Shop, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("domain.inventory.holds.RECLAIM_LIMIT", 3)
    await shop.stock(A=10)
    orders = await asyncio.gather(*(shop.place(owner=f"buyer{n}", A=1) for n in range(10)))
    clock.move(minutes=15)
    assert (await shop.place(owner="bob", A=10))["state"] == "reserved"
    assert await states(shop, *(order["id"] for order in orders)) == {"expired": 10}
    await shop.check_books()


async def test_a_reclaim_that_loses_to_the_scheduler_still_sells_what_came_free(
    shop: Shop, rewire: Callable[..., Services], clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=1)
    first = await shop.place(owner="ada", A=1)
    clock.move(minutes=15)
    scheduler, holds = rewire(locks=FakeLocks()), shop.services.holds
    expired: list[Any] = []
    attempt = holds._try

    async def late(*args: Any) -> Any:
        if not expired:
            expired.append(await scheduler.orders.expire([first["id"]]))
        return await attempt(*args)

    monkeypatch.setattr(holds, "_try", late)
    assert (await shop.place(owner="bob", A=1))["state"] == "reserved"
    assert expired == [{"expired": 1}]
    await shop.check_books()


@LABELS
async def test_a_reclaim_whose_commit_went_unanswered_still_sells_what_came_free(
    shop: Shop, clock: MovableClock, label: str
):
    await shop.stock(A=1)
    await shop.place(owner="ada", A=1)
    clock.move(minutes=15)
    accepted = await shop.submit(owner="bob", A=1)
    with commit_whose_answer_is_lost(label):
        await shop.services.order_placing.settle(accepted.job_id)
    assert (await shop.order(accepted.job_id))["state"] == "reserved"
    await shop.check_books()


async def test_many_sales_at_once_reclaim_the_same_expired_holds(
    shop: Shop, rewire: Callable[..., Services], clock: MovableClock
):
    await shop.stock(A=20)
    await asyncio.gather(*(shop.place(owner=f"old{n % 3}", A=1) for n in range(20)))
    clock.move(minutes=15)
    both = [shop, Shop(rewire(locks=FakeLocks()))]
    orders = await asyncio.gather(*(both[n % 2].place(owner=f"new{n % 4}", A=1) for n in range(40)))
    assert Counter(order["state"] for order in orders) == {"reserved": 20, "rejected": 20}
    assert await shop.levels("A") == (0, 20)
    await shop.check_books()
