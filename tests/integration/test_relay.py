"""A `202` is kept although the broker was away, or lost the message (P1)."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from domain.audit_log.models import Actor
from domain.bootstrap import Services
from domain.changes import Doc
from domain.errors import TryAgain
from domain.inventory.commands import Release
from domain.jobs.commands import pools
from domain.jobs.models import JOBS
from domain.orders.commands import PlaceOrder
from domain.ports import JobMessage, QueueDepth
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeJobQueue

OPS = Actor("ops-1", "session:s")


@pytest.fixture
def broker() -> FakeJobQueue:
    return FakeJobQueue(consumers=1)


@pytest.fixture
def office(rewire: Callable[..., Services], broker: FakeJobQueue) -> Services:
    """Services that publish to the fake broker."""
    return rewire(queue=broker)


@pytest.fixture
async def shop(office: Services) -> Shop:
    shop = Shop(office)
    await shop.stock(A=100)
    return shop


def sent(broker: FakeJobQueue) -> list[str]:
    """The jobs whose messages a worker of the orders takes now."""
    return [message.job_id for message in broker.take("orders")]


async def test_an_accepted_job_is_sent_and_not_sent_again_until_much_later(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    job_id = (await shop.submit(A=1)).job_id
    (message,) = broker.take("orders")
    assert message == JobMessage(job_id, "orders.place", "orders")
    await office.drain()
    job = await shop.job(job_id)
    assert job["dispatched_at"] is not None
    assert job["not_before"] - job["dispatched_at"] == timedelta(minutes=10)
    clock.move(minutes=9)
    assert await office.relay.send_due() == 0
    clock.move(minutes=2)
    assert await office.relay.send_due() == 1
    assert sent(broker) == [job_id]


async def test_a_job_sent_ahead_while_the_broker_is_away_is_sent_as_soon_as_it_is_back(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    job_id = (await shop.submit(A=1)).job_id
    assert sent(broker) == [job_id]
    await office.runs.postpone(job_id, ValueError("of a test"), seconds=60)
    assert await office.jobs.oldest("orders") is None
    broker.away = True
    await office.job_desk.expedite(job_id, actor=OPS)
    await office.drain()
    broker.away = False
    assert await office.relay.send_due() == 1
    assert sent(broker) == [job_id]
    clock.move(minutes=1)
    assert (await office.jobs.oldest("orders")) is not None


async def test_a_replayed_request_sends_nothing(office: Services, shop: Shop, broker: FakeJobQueue):
    first = await shop.submit(key="k", A=1)
    assert sent(broker) == [first.job_id]
    again = await shop.submit(key="k", A=1)
    assert again.replayed
    assert sent(broker) == []


async def test_a_request_that_is_repeated_later_sends_once_what_its_first_may_not_have_sent(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    # Stored, and the process is gone before the message is: that looks as if it was sent.
    job_id = (await shop.submit(key="k", A=1)).job_id
    assert sent(broker) == [job_id]
    clock.move(seconds=6)
    assert (await shop.submit(key="k", A=1)).job_id == job_id
    assert sent(broker) == [job_id]
    clock.move(seconds=6)
    await shop.submit(key="k", A=1)
    assert sent(broker) == []
    assert (await shop.work(job_id))["state"] == "succeeded"
    clock.move(seconds=6)
    await shop.submit(key="k", A=1)
    assert sent(broker) == []
    assert await shop.levels("A") == (99, 1)


async def test_a_request_that_is_looked_up_by_its_key_is_sent_as_one_that_is_repeated(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    # As orders of a cart or a quote are, before anything is read for them.
    job = await shop.job((await shop.submit(key="k", A=1)).job_id)
    assert sent(broker) == [job["_id"]]
    for message in ([], [job["_id"]], []):
        asked = {"owner": job["owner"], "key": "k", "request": job["payload"]}
        found = await office.jobs.accepted(PlaceOrder, **asked)
        assert found is not None
        assert (found.job_id, found.replayed, sent(broker)) == (job["_id"], True, message)
        clock.move(seconds=6)


class HalfSilent(FakeJobQueue):
    """Confirms nothing of one pool, until it is told to."""

    def __init__(self) -> None:
        super().__init__(consumers=1)
        self.goes_on = asyncio.Event()

    async def publish(self, messages: Sequence[JobMessage]) -> list[bool]:
        if any(message.pool == "orders" for message in messages):
            await self.goes_on.wait()
        return await super().publish(messages)


async def test_a_queue_that_confirms_nothing_keeps_no_other_waiting(rewire: Callable[..., Services]):
    broker = HalfSilent()
    office = rewire(queue=broker)
    stuck = asyncio.create_task(Shop(office).submit(A=1))
    released = await office.jobs.submit(Release(reservation_id=new_id()), owner="ada", key="k")
    assert [message.job_id for message in broker.take("inventory")] == [released.job_id]
    assert not stuck.done()
    broker.goes_on.set()
    job_id = (await stuck).job_id
    assert sent(broker) == [job_id]


async def test_what_was_accepted_while_the_broker_was_away_is_sent_once_it_is_back(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    broker.away = True
    ids = [(await shop.submit(A=1)).job_id for _ in range(3)]
    await office.drain()
    assert [(await shop.job(job_id)).get("dispatched_at") for job_id in ids] == [None] * 3
    assert await office.relay.send_due() == 0
    broker.away = False
    assert await office.relay.send_due() == 3
    assert sent(broker) == ids
    await office.drain()
    assert await office.relay.send_due() == 0
    for job_id in ids:
        assert (await shop.work(job_id))["state"] == "succeeded"
    assert await shop.levels("A") == (97, 3)


async def test_a_pool_of_which_much_waits_keeps_no_other_waiting(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    broker.away = True
    flood = [(await shop.submit(A=1)).job_id for _ in range(3)]
    other = await office.jobs.submit(Release(reservation_id=new_id()), owner="ada", key="k")
    await office.drain()
    broker.away = False
    clock.move(minutes=1)
    assert await office.relay.send_due(limit=2) == 3
    assert sent(broker) == flood[:2]
    assert [message.job_id for message in broker.take("inventory")] == [other.job_id]


class Questions(CommandListener):
    """Counts what the store is asked of jobs."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += event.command.get("find") == JOBS

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


async def test_one_question_finds_what_is_due_in_all_pools_and_more_are_asked_of_a_flood_alone(
    shop: Shop, rewire: Callable[..., Services], broker: FakeJobQueue, clock: MovableClock
):
    questions, settings = Questions(), shop.services.settings.mongo
    client: AsyncMongoClient[Doc] = AsyncMongoClient(settings.url, tz_aware=True, event_listeners=[questions])
    async with client:
        office = rewire(queue=broker, database=client[settings.database])

        async def looked(**limit: int) -> tuple[int, int]:
            """How many jobs were sent, and how often the store was asked."""
            before = questions.count
            return await office.relay.send_due(**limit), questions.count - before

        assert await looked() == (0, 1)
        broker.away = True
        for _ in range(3):
            await shop.submit(A=1)
        release = Release(reservation_id=new_id())
        await shop.services.jobs.submit(release, owner="ada", key="k")
        await shop.services.drain()
        broker.away = False
        clock.move(minutes=1)
        assert await looked(limit=2) == (3, 1 + len(pools()))
        assert await looked() == (1, 1)
        await office.drain()


async def test_what_the_relay_has_sent_is_not_sent_again_in_its_next_round(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    broker.away = True
    await shop.submit(A=1)
    await office.drain()
    broker.away = False
    assert [await office.relay.send_due() for _ in range(3)] == [1, 0, 0]


async def test_a_message_that_was_lost_is_sent_again_once_its_queue_is_empty(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    lost = (await shop.submit(A=1)).job_id
    assert sent(broker) == [lost]
    waits = (await shop.submit(A=1)).job_id
    await office.drain()
    clock.move(seconds=3.1)
    # Another message waits in the queue: perhaps this one does, too.
    assert await office.relay.send_lost() == 0
    assert sent(broker) == [waits]
    assert await office.relay.send_lost() == 2
    assert sent(broker) == [lost, waits]
    assert await office.relay.send_lost() == 0


@pytest.mark.parametrize("ready", [False, True])
async def test_nothing_counts_as_lost_while_nobody_can_tell(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock, monkeypatch, *, ready: bool
):
    await shop.submit(A=1)
    broker.take("orders")
    await office.drain()
    clock.move(seconds=3.1)
    if ready:
        broker.away = True
    else:

        async def unattended(_: str) -> QueueDepth:
            return QueueDepth(ready=0, consumers=0)

        monkeypatch.setattr(broker, "depth", unattended)
    assert await office.relay.send_lost() == 0


async def test_what_is_sent_twice_runs_once(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    placed = (await shop.submit(A=1)).job_id
    clock.move(minutes=11)
    await office.relay.send_due()
    assert sent(broker) == [placed, placed]
    await asyncio.gather(shop.work(placed), shop.work(placed))
    assert await shop.levels("A") == (99, 1)
    paid = await shop.submit_payment(placed)
    await asyncio.gather(*(shop.work(paid) for _ in range(5)))
    job = await shop.job(paid)
    assert (job["state"], job["attempts"]) == ("succeeded", 1)
    assert (await shop.order(placed))["state"] == "paid"
    await shop.check_books()


async def test_a_job_that_waits_for_its_next_run_is_not_hurried_by_the_note_of_its_first_message(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    broker.away = True
    batched = (await shop.submit(A=1)).job_id
    await office.runs.postpone(batched, TryAgain("busy"), seconds=1)
    order = await shop.place(A=1)
    claimed = await shop.submit_payment(order["id"])
    job = await office.runs.claim(claimed, kind="orders.pay")
    assert job is not None
    await office.runs.retry(job, TryAgain("no answer yet"), seconds=1)
    # That the first messages were not confirmed is noted now.
    await office.drain()
    broker.away = False
    assert await office.relay.send_due() == 0
    clock.move(seconds=1.1)
    assert await office.relay.send_due() == 2
    assert sorted(sent(broker)) == sorted([batched, claimed])


async def test_a_pause_before_the_next_run_is_kept_although_the_queue_is_empty(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    order = await shop.place(A=1)
    broker.take("orders")
    payment = await shop.submit_payment(order["id"])
    broker.take("orders")
    await office.drain()
    clock.move(seconds=60)
    job = await office.runs.claim(payment, kind="orders.pay")
    assert job is not None
    await office.runs.retry(job, TryAgain("the provider asks for patience"), seconds=30)
    postponed = (await shop.submit(A=1)).job_id
    broker.take("orders")
    await office.drain()
    clock.move(seconds=60)
    await office.runs.postpone(postponed, TryAgain("busy"), seconds=30)
    clock.move(seconds=-35)
    assert await office.relay.send_lost() == 0
    clock.move(seconds=70)
    assert await office.relay.send_due() == 2


async def test_a_replayed_job_is_sent_as_a_new_one(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    order = await shop.place(A=1)
    await office.drain()
    job_id = await shop.submit_payment(order["id"], source="sandbox:decline")
    assert (await shop.work(job_id))["state"] == "failed"
    broker.take("orders")
    await office.jobs.replay(job_id, by="ops")
    assert sent(broker) == [job_id]
    await office.drain()
    job = await shop.job(job_id)
    assert job["not_before"] - clock() > timedelta(minutes=9)


async def test_a_job_that_was_taken_back_is_sent_at_once(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock
):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"])
    await office.drain()
    broker.take("orders")
    assert await office.runs.claim(payment, kind="orders.pay") is not None
    clock.move(seconds=3.1)
    assert await office.relay.take_back() == 1
    assert await office.relay.send_due() == 1
    assert sent(broker) == [payment]


async def test_the_real_broker_takes_what_waited(services: Services, rewire, clock: MovableClock):
    away = FakeJobQueue()
    away.away = True
    shop = Shop(rewire(queue=away))
    await shop.stock(A=1)
    await shop.submit(A=1)
    await shop.services.drain()
    assert await services.relay.send_due() == 1
    depth = await services.queue.depth("orders")
    assert depth is not None
    assert depth.ready == 1
