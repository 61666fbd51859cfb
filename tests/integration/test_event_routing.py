"""Stored events are handed to the ways that deliver them, each at least once, whatever dies or is away."""

from collections.abc import Callable, Sequence

import pytest

from domain.bootstrap import Services
from domain.changes import Doc
from domain.events.rules import account_channel
from domain.notifications import routing
from domain.notifications.commands import FanOut
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakePubSub


class Router:
    """Remembers what it was handed; refuses events of the subjects in `broken`."""

    def __init__(self) -> None:
        self.handed: list[str] = []
        self.broken: set[str] = set()
        self.away = False

    async def __call__(self, events: Sequence[Doc]) -> None:
        if self.away or self.broken & {event["subject"] for event in events}:
            raise RuntimeError("cannot be routed")
        self.handed += [event["subject"] for event in events]


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def pubsub() -> FakePubSub:
    return FakePubSub()


@pytest.fixture
def office(rewire: Callable[..., Services], pubsub: FakePubSub, router: Router) -> Services:
    """Services that tell on fake channels and route to the fake router."""
    office = rewire(pubsub=pubsub)
    office.events.route_to(router)
    return office


async def orders(office: Services, count: int) -> list[str]:
    """So many orders, each with one event."""
    shop = Shop(office)
    return [(await shop.place(A=1))["id"] for _ in range(count)]


def told(pubsub: FakePubSub) -> int:
    """How many events the account was told of."""
    return [channel for channel, _ in pubsub.published].count(account_channel("ada"))


async def rows(office: Services) -> list[bool]:
    """Of each row in the outbox, whether it was routed."""
    return [row.get("routed", False) async for row in office.database["event_outbox"].find().sort("_id")]


@pytest.fixture(autouse=True)
async def stocked(shop: Shop) -> None:
    await shop.stock(A=100)


async def test_what_is_stored_is_told_and_routed_once_and_leaves_the_outbox(
    office: Services, router: Router, pubsub: FakePubSub
):
    placed = await orders(office, 3)
    await office.drain()
    assert router.handed == placed
    assert told(pubsub) == 3
    assert await rows(office) == []


async def test_while_routing_fails_events_are_told_and_stay_in_the_outbox(
    office: Services, router: Router, pubsub: FakePubSub, clock: MovableClock
):
    router.away = True
    placed = await orders(office, 2)
    await office.drain()
    assert told(pubsub) == 2
    assert await rows(office) == [False, False]
    clock.move(seconds=5)
    assert await office.events.republish() == 0
    router.away = False
    assert await office.events.republish() == 2
    assert router.handed == placed
    assert await rows(office) == []


async def test_one_event_that_cannot_be_routed_keeps_no_other_from_it(
    office: Services, router: Router, pubsub: FakePubSub, clock: MovableClock
):
    router.away = True
    placed = await orders(office, 3)
    await office.drain()
    router.away = False
    router.broken = {placed[0]}
    clock.move(seconds=5)
    assert await office.events.republish() == 2
    assert router.handed == placed[1:]
    assert await rows(office) == [False]
    router.broken.clear()
    assert await office.events.republish() == 1
    assert router.handed == [*placed[1:], placed[0]]


async def test_while_redis_is_away_events_are_routed_once_and_told_later(
    office: Services, router: Router, pubsub: FakePubSub, clock: MovableClock
):
    pubsub.away = True
    placed = await orders(office, 3)
    await office.drain()
    assert router.handed == placed
    assert await rows(office) == [True] * 3
    clock.move(seconds=5)
    assert await office.events.republish() == 0
    pubsub.away = False
    assert await office.events.republish() == 3
    assert router.handed == placed
    assert await rows(office) == []


async def test_what_a_killed_process_left_is_routed_although_redis_is_away(
    office: Services, router: Router, pubsub: FakePubSub, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as killed:
        killed.setattr(office.events._telling, "publish", lambda _: None)
        placed = await orders(office, 3)
    assert await rows(office) == [False] * 3
    pubsub.away = True
    clock.move(seconds=5)
    assert await office.events.republish(limit=2, seconds=0) == 0
    assert await office.events.republish(limit=2, seconds=0) == 0
    assert router.handed == placed
    assert await rows(office) == [True] * 3
    pubsub.away = False
    assert await office.events.republish() == 3
    assert (router.handed, told(pubsub)) == (placed, 3)


async def test_what_comes_to_light_between_routing_and_telling_is_not_told_before_it_is_routed(
    office: Services, router: Router, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(office.events._telling, "publish", lambda _: None)
    first, second = await orders(office, 2)
    outbox = office.database["event_outbox"]
    (late,) = [row async for row in outbox.find().sort("_id").skip(1)]
    await outbox.delete_one({"_id": late["_id"]})

    async def route(events: Sequence[Doc]) -> None:
        await router(events)
        if router.handed == [first]:
            # As one of a transaction that took long: its id is of before.
            await outbox.insert_one(late)

    office.events.route_to(route)
    clock.move(seconds=5)
    count = await office.events.republish() + await office.events.republish()
    assert (count, router.handed) == (2, [first, second])
    assert await rows(office) == []


async def test_events_that_need_many_jobs_have_them_submitted_in_parts(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    class Everybody:
        async def deliveries(self, events: Sequence[Doc]) -> Sequence[routing.Delivery]:
            return [routing.Delivery(FanOut(event_id=new_id()), key=str(n)) for n in range(5 * len(events))]

    monkeypatch.setattr(routing, "TOGETHER", 2)
    await routing.Routing(services.jobs, [Everybody()]).route([{}])
    assert await services.database["jobs"].count_documents({"kind": FanOut.kind}) == 5
