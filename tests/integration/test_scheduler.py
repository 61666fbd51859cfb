"""The scheduler's verbs over the real ledger: expired holds become jobs, once."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.jobs.rules import SYSTEM
from domain.jobs.service import JobQuery
from scheduler.expiry import PATIENCE, HoldExpiry
from scheduler.schedule import timetable
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeJobQueue


@pytest.fixture
def queue() -> FakeJobQueue:
    return FakeJobQueue()


@pytest.fixture
async def shop(rewire: Callable[..., Services], services: Services, queue: FakeJobQueue) -> Shop:
    settings = services.settings.model_copy(
        update={"scheduler": services.settings.scheduler.model_copy(update={"expire_batch": 2})}
    )
    shop = Shop(rewire(queue=queue, settings=settings))
    await shop.stock(A=100)
    return shop


async def work_off(shop: Shop, queue: FakeJobQueue) -> list[dict[str, Any]]:
    """What the pool `inventory` does with what waits for it."""
    return [await shop.work(message.job_id) for message in queue.take("inventory")]


async def test_expired_holds_are_handed_over_in_batches_and_end_with_their_orders(
    shop: Shop, queue: FakeJobQueue, clock: MovableClock
):
    orders = [await shop.place(A=1) for _ in range(4)]
    reservation = await shop.reserve(A=1)
    expiry = HoldExpiry(shop.services)
    clock.move(minutes=14, seconds=50)
    queue.take("inventory")
    assert await expiry.run() == 0
    clock.move(seconds=10)
    assert await expiry.run() == 5
    jobs = await work_off(shop, queue)
    assert [(job["kind"], job["owner"], job["result"]) for job in jobs] == [
        ("orders.expire", "system", {"expired": 2}),
        ("orders.expire", "system", {"expired": 2}),
        ("orders.expire", "system", {"expired": 1}),
    ]
    assert {(await shop.order(order["id"]))["state"] for order in orders} == {"expired"}
    assert (await shop.services.reservations.get(reservation, owner="ada"))["state"] == "released"
    assert await shop.levels("A") == (100, 0)
    assert await expiry.run() == 0
    await shop.check_books()


async def test_an_expired_hold_is_handed_over_once_and_again_only_where_its_job_ended_without_it(
    shop: Shop, queue: FakeJobQueue, clock: MovableClock
):
    await shop.place(A=1)
    expiry = HoldExpiry(shop.services)
    clock.move(minutes=15)
    assert [await expiry.run() for _ in range(3)] == [1, 0, 0]
    clock.move(seconds=PATIENCE.total_seconds() + 1)
    # Its job waits for a worker: a second one would do nothing but wait with it.
    assert [await expiry.run() for _ in range(3)] == [0, 0, 0]
    (waiting,) = await shop.services.jobs.find(JobQuery(SYSTEM, kind="orders.expire"))
    await shop.services.jobs.cancel(waiting["_id"], owner=None, by="ops")
    clock.move(seconds=PATIENCE.total_seconds() + 1)
    assert [await expiry.run() for _ in range(3)] == [1, 0, 0]
    results = [job["result"]["expired"] for job in await work_off(shop, queue) if "result" in job]
    assert results == [1]
    clock.move(minutes=1)
    assert await expiry.run() == 0


async def test_holds_that_were_handed_over_do_not_hide_those_that_expire_after_them(
    shop: Shop, queue: FakeJobQueue, clock: MovableClock
):
    expiry = HoldExpiry(shop.services)
    for _ in range(3):
        await shop.place(A=1)
    clock.move(minutes=14, seconds=55)
    await shop.place(A=1)
    clock.move(seconds=5)
    assert await expiry.run() == 3
    clock.move(minutes=14, seconds=55)
    assert await expiry.run() == 1


async def test_two_schedulers_hand_over_the_same_holds_and_each_ends_once(
    shop: Shop, queue: FakeJobQueue, clock: MovableClock
):
    await shop.place(A=1)
    clock.move(minutes=15)
    assert [await HoldExpiry(shop.services).run() for _ in range(2)] == [1, 1]
    assert sorted(job["result"]["expired"] for job in await work_off(shop, queue)) == [0, 1]
    await shop.check_books()


async def test_an_expiry_that_was_accepted_while_the_broker_was_away_is_sent_later(
    shop: Shop, queue: FakeJobQueue, clock: MovableClock
):
    order = await shop.place(A=1)
    clock.move(minutes=15)
    queue.away = True
    assert await HoldExpiry(shop.services).run() == 1
    await shop.services.drain()
    queue.away = False
    assert await shop.services.relay.send_due() == 1
    assert [job["result"] for job in await work_off(shop, queue)] == [{"expired": 1}]
    assert (await shop.order(order["id"]))["state"] == "expired"


async def test_every_entry_of_the_timetable_runs_on_an_empty_store_and_twice(shop: Shop):
    for entry in timetable(shop.services):
        first, second = await entry.verb(), await entry.verb()
        assert second == 0, entry.name
        # The bucket is all tests': what is in it may be of others, whose stores are not this one.
        assert first == 0 or entry.name == "delete objects of no media", entry.name
