"""Past its share of a pool's queue an account's jobs wait for their turn in the ledger, and none is lost."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from domain.bootstrap import Services
from domain.changes import Changes, Database, Doc
from domain.errors import IdempotencyKeyReused
from domain.jobs import feeding
from domain.jobs.fair_rules import turn_of, waits_for_turn
from domain.jobs.feeding import Feeder
from domain.jobs.models import JOBS
from domain.orders.commands import PayOrder
from domain.settings import Settings
from domain.values import utcnow
from tests.api import ORDER, Api, User, open_api
from tests.conftest import MovableClock
from tests.factories import Shop, eventually
from tests.fakes import FakeJobQueue

#: Small, so that floods are.
SHARE, QUANTUM = 4, 4


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STOCKYARD_POOLS_FAIR_SHARE", str(SHARE))
    monkeypatch.setattr("domain.jobs.fair_rules.QUANTUM", QUANTUM)
    monkeypatch.setattr(feeding, "SELDOM", 0.0)
    monkeypatch.setattr(feeding, "LATE", 0.0)
    monkeypatch.setattr(feeding, "SEARCH_EVERY", 0.0)
    monkeypatch.setattr(feeding, "DEARNESS", 0.0)
    monkeypatch.setattr("domain.jobs.fairness.FRESH", 0.0)
    return Settings()


@pytest.fixture
def broker() -> FakeJobQueue:
    return FakeJobQueue(consumers=1)


@pytest.fixture
def office(rewire: Callable[..., Services], broker: FakeJobQueue) -> Services:
    return rewire(queue=broker)


@pytest.fixture
async def shop(office: Services) -> Shop:
    shop = Shop(office)
    await shop.stock(A=1000)
    return shop


def taken(broker: FakeJobQueue) -> list[str]:
    return [message.job_id for message in broker.take("orders")]


async def orders(shop: Shop, owner: str, count: int) -> list[str]:
    """Their ids, in the order of their coming."""
    accepted = await asyncio.gather(*(shop.submit(owner=owner, A=1) for _ in range(count)))
    return [each.job_id for each in accepted]


async def owners(shop: Shop, job_ids: list[str]) -> list[str]:
    return [str(job["owner"]) for job in await asyncio.gather(*map(shop.job, job_ids))]


async def fed(office: Services, broker: FakeJobQueue, *, rounds: int = 12) -> list[str]:
    """What the feeder sends while somebody takes all of it at once."""
    found: list[str] = []
    for _ in range(rounds):
        await office.feeder.feed()
        await office.feeder.search()
        found += taken(broker)
    return found


async def test_what_passes_an_accounts_share_waits_in_the_ledger_and_others_are_sent_at_once(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    flood = await orders(shop, "ada", 10)
    assert taken(broker) == flood[:SHARE]
    (bob,) = await orders(shop, "bob", 1)
    assert taken(broker) == [bob]
    job = await shop.job(flood[-1])
    assert waits_for_turn(job["not_before"])
    assert (job["state"], job["dispatched_at"]) == ("queued", None)
    # Neither the relay nor a lost message takes it for its time.
    assert await office.relay.send_due() == 0
    assert await office.relay.send_lost() == 0


async def test_jobs_that_wait_are_sent_by_turns_of_their_accounts(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    flood = await orders(shop, "ada", SHARE + 3 * QUANTUM)
    late = await orders(shop, "bob", SHARE + QUANTUM)
    assert taken(broker) == flood[:SHARE] + late[:SHARE]
    order = await fed(office, broker)
    assert sorted(order) == sorted(flood[SHARE:] + late[SHARE:])
    whose = [(owner, len(list(run))) for owner, run in groupby(await owners(shop, order))]
    # Bob came behind all of Ada's jobs, and waits for one turn of hers.
    assert whose == [("ada", QUANTUM), ("bob", QUANTUM), ("ada", 2 * QUANTUM)]
    # Each account's own jobs keep their order.
    assert [job_id for job_id in order if job_id in flood] == flood[SHARE:]


async def test_the_queue_is_kept_short(office: Services, shop: Shop, broker: FakeJobQueue):
    await orders(shop, "ada", 100)
    taken(broker)
    sent = [await office.feeder.feed() for _ in range(4)]
    waiting = len(broker.waiting["orders"])
    assert sum(sent) == waiting
    assert waiting < 90
    # Nobody takes any: nothing is added.
    assert sent[-1] == 0


async def test_one_look_sends_no_more_than_it_may(
    office: Services, shop: Shop, broker: FakeJobQueue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feeding, "AT_ONCE", 5)
    await orders(shop, "ada", SHARE + 12)
    taken(broker)
    assert [await office.feeder.feed() for _ in range(4)] == [5, 5, 2, 0]


async def test_every_job_that_waited_runs_once(office: Services, shop: Shop, broker: FakeJobQueue):
    flood = await orders(shop, "ada", 30)
    everything = taken(broker) + await fed(office, broker)
    assert sorted(everything) == sorted(flood)
    await asyncio.gather(*map(shop.work, everything))
    assert await shop.levels("A") == (970, 30)
    await shop.check_books()


async def test_two_feeders_send_what_waits_and_nothing_is_done_twice(
    office: Services, rewire: Callable[..., Services], shop: Shop, broker: FakeJobQueue
):
    flood = await orders(shop, "ada", 30)
    found = taken(broker)
    other: Feeder = rewire(queue=broker).feeder
    for _ in range(8):
        await asyncio.gather(office.feeder.feed(), other.feed())
        found += taken(broker)
    assert set(found) == set(flood)
    await asyncio.gather(*map(shop.work, found))
    assert await shop.levels("A") == (970, 30)


async def test_a_feeder_that_died_is_followed_by_one_that_goes_on(
    office: Services, rewire: Callable[..., Services], shop: Shop, broker: FakeJobQueue
):
    flood = await orders(shop, "ada", 50)
    found = taken(broker)
    await office.feeder.feed()
    found += taken(broker)
    found += await fed(rewire(queue=broker), broker)
    assert sorted(found) == sorted(flood)


async def test_while_an_account_waits_its_new_jobs_do_not_overtake(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    flood = await orders(shop, "ada", SHARE + 2)
    await asyncio.gather(*map(shop.work, taken(broker)))
    (new,) = await orders(shop, "ada", 1)
    assert taken(broker) == []
    assert await fed(office, broker) == [*flood[SHARE:], new]


async def test_an_account_whose_jobs_have_ended_is_free_again(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    await orders(shop, "ada", SHARE + 2)
    await asyncio.gather(*map(shop.work, taken(broker) + await fed(office, broker)))
    again = await orders(shop, "ada", SHARE)
    assert taken(broker) == again


async def test_a_repeated_request_takes_no_share(shop: Shop, broker: FakeJobQueue):
    for _ in range(3 * SHARE):
        await shop.submit(owner="ada", key="one", A=1)
    again = await orders(shop, "ada", SHARE - 1)
    assert len(taken(broker)) == 1 + len(again)


async def test_what_the_platform_gives_itself_never_waits(office: Services, shop: Shop, broker: FakeJobQueue):
    sent = await orders(shop, "system", 3 * SHARE)
    assert taken(broker) == sent


async def test_a_gap_of_cancelled_jobs_stops_nobody(office: Services, shop: Shop, broker: FakeJobQueue):
    flood = await orders(shop, "ada", SHARE + 6 * QUANTUM)
    found = taken(broker)
    gap = flood[SHARE : SHARE + 5 * QUANTUM]
    cancelled = Changes.of("jobs", {"_id": {"$in": gap}}, {"$set": {"state": "cancelled"}})
    await cancelled.commit(office.database)
    found += await fed(office, broker)
    assert found == flood[:SHARE] + flood[SHARE + 5 * QUANTUM :]


class Asked:
    """The store, and what it is asked for in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queries: list[Doc] = []

    def __getitem__(self, name: str) -> Any:
        return self if name == JOBS else self._database[name]

    def find(self, query: Doc, *more: Any) -> Any:
        self.queries.append(query)
        return self._database[JOBS].find(query, *more)

    def find_one(self, query: Doc, *more: Any) -> Any:
        self.queries.append(query)
        return self._database[JOBS].find_one(query, *more)


async def test_a_look_asks_for_single_turns_whatever_else_waits(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    await orders(shop, "ada", SHARE + 5 * QUANTUM)
    gap = Changes.of("jobs", {"dispatched_at": None}, {"$set": {"state": "cancelled"}})
    await gap.commit(office.database)
    asked = Asked(office.database)
    feeder = Feeder(
        database=asked,  # type: ignore[arg-type]
        queue=broker,
        dispatcher=office.jobs._dispatcher,
        settings=office.settings.jobs,
        clock=utcnow,
    )
    assert await feeder.feed() == 0
    assert {type(query["not_before"]) for query in asked.queries} == {datetime}


async def test_a_job_that_is_given_a_turn_a_moment_after_it_was_passed_is_sent(
    office: Services, shop: Shop, broker: FakeJobQueue, monkeypatch: pytest.MonkeyPatch
):
    flood = await orders(shop, "ada", SHARE + 4 * QUANTUM)
    await fed(office, broker)
    # Bob's process has not heard how far the turns have come.
    monkeypatch.setattr("domain.jobs.fairness.FRESH", 60.0)
    office.jobs._fair._reached, office.jobs._fair._known_until = {}, float("inf")
    late = await orders(shop, "bob", SHARE + 1)
    assert turn_of((await shop.job(late[-1]))["not_before"]) == 1
    assert late[-1] in await fed(office, broker)
    assert flood


async def test_a_job_whose_turn_was_passed_long_ago_is_sent_while_others_still_wait(
    office: Services, shop: Shop, broker: FakeJobQueue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(feeding, "next_room", lambda _room, **_: 2 * QUANTUM)
    await orders(shop, "ada", SHARE + 20 * QUANTUM)
    taken(broker)
    await fed(office, broker, rounds=4)
    # Bob's process was stopped before it stored the job, and goes on now.
    office.jobs._fair._reached = {}
    monkeypatch.setattr(office.jobs._fair, "_known_until", float("inf"))
    late = await orders(shop, "bob", SHARE + 2 * QUANTUM)
    sent = await fed(office, broker, rounds=4)
    assert set(late) <= set(sent)
    assert await office.database["jobs"].count_documents({"owner": "ada", "dispatched_at": None}) > 0


async def test_payments_do_not_stand_behind_their_accounts_own_orders(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    first, *_ = await orders(shop, "ada", SHARE + 3 * QUANTUM)
    taken(broker)
    pay = PayOrder(order_id=first, source="tok_ok")
    paid = [await office.jobs.submit(pay, owner="ada", key=str(each)) for each in range(SHARE + 2)]
    payments = [each.job_id for each in paid]
    assert taken(broker) == payments[:SHARE]
    # Past their own share they take turns with the orders.
    assert set(payments[SHARE:]) < set((await fed(office, broker))[: QUANTUM + 2])


async def test_what_is_refused_takes_no_share(
    office: Services, shop: Shop, broker: FakeJobQueue, monkeypatch: pytest.MonkeyPatch
):
    await shop.submit(owner="ada", key="one", A=1)
    for _ in range(SHARE):
        with pytest.raises(IdempotencyKeyReused):
            await shop.submit(owner="ada", key="one", A=2)

    async def away(*_: object) -> None:
        raise AutoReconnect

    pay = PayOrder(order_id="1", source="tok_ok")
    with monkeypatch.context() as patch:
        patch.setattr(Changes, "commit", away)
        for each in range(SHARE):
            with pytest.raises(AutoReconnect):
                await office.jobs.submit_with(Changes(), pay, owner="ada", key=str(each), request={})
    assert (await office.jobs.submit(pay, owner="ada", key="last")).job_id in taken(broker)
    assert len(await orders(shop, "ada", SHARE - 1)) == len(taken(broker))


async def test_while_the_broker_is_away_what_waits_stays_where_it_is(
    office: Services, shop: Shop, broker: FakeJobQueue
):
    flood = await orders(shop, "ada", SHARE + 5)
    found = taken(broker)
    broker.away = True
    assert await office.feeder.feed() == 0
    broker.away = False
    found += await fed(office, broker)
    assert sorted(found) == sorted(flood)


async def test_a_queue_that_does_not_exist_is_made_by_a_first_message(
    office: Services, shop: Shop, broker: FakeJobQueue, monkeypatch: pytest.MonkeyPatch
):
    flood = await orders(shop, "ada", SHARE + 3)
    taken(broker)

    async def none(_: str) -> None:
        return None

    monkeypatch.setattr(broker, "depth", none)
    assert await office.feeder.feed() == 1
    assert taken(broker) == [flood[SHARE]]


async def test_what_died_between_the_note_and_the_message_is_found_as_a_lost_one(
    office: Services, shop: Shop, broker: FakeJobQueue, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    await orders(shop, "ada", SHARE + 1)
    await asyncio.gather(*map(shop.work, taken(broker)))

    async def dies(_: object) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(office.feeder._dispatcher, "send", dies)
        with pytest.raises(asyncio.CancelledError):
            await office.feeder.feed()
    assert await fed(office, broker) == []
    clock.move(seconds=3.1)
    assert await office.relay.send_lost() == 1


async def test_over_http_a_job_that_waits_for_its_turn_is_a_queued_job_that_can_be_cancelled(
    settings: Settings,
):
    async with open_api(settings) as api:
        await api.shop.stock(CHAI=100)
        ada = api.user()
        ids = [await placed(ada) for _ in range(SHARE + 2)]
        job = (await ada.get(f"/v1/jobs/{ids[-1]}")).json()
        assert (job["state"], job["not_before"]) == ("queued", None)
        assert (await ada.get(f"/v1/orders/{ids[-1]}")).json()["state"] == "pending"
        cancelled = await ada.post(f"/v1/jobs/{ids[-1]}/cancel")
        assert cancelled.json()["state"] == "cancelled"
        await eventually(lambda: _fed_all(api, 1))


async def placed(user: User) -> str:
    return str((await user.post("/v1/orders", ORDER)).json()["id"])


async def _fed_all(api: Api, count: int) -> bool:
    await api.services.feeder.feed()
    query = {"state": "queued", "dispatched_at": {"$ne": None}}
    return await api.services.database["jobs"].count_documents(query) == SHARE + count
