"""One event of the shop to all who wait for it: each is told once, whatever is run twice or cut short."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.changes import Changes, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.models import EVENTS
from domain.events.rules import SHOP, account_channel
from domain.jobs.models import JOBS
from domain.notifications import fanout
from domain.notifications.models import SUBSCRIPTIONS
from domain.notifications.subscriptions import id_of
from domain.values import new_id
from tests.factories import Shop
from tests.fakes import FakePubSub
from tests.happenings import back, happen, paid
from tests.transactions import LABELS, commit_whose_answer_is_lost

SKU, TOPIC = "CHAI", "stock.back"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PART", 10)
    monkeypatch.setattr(fanout, "STEP", 4)


async def waiting(services: Services, count: int, *, lasting: bool = False) -> list[str]:
    """So many accounts that wait; their ids."""
    accounts = sorted(f"account-{new_id()}" for _ in range(count))
    now = services.clock()
    rows = [
        {
            "_id": id_of(account, TOPIC, SKU), "account_id": account, "topic": TOPIC, "subject": SKU,
            "watch": f"{TOPIC}:{SKU}", "lasting": lasting, "since": now, "told_at": None, "delete_at": None,
        }
        for account in accounts
    ]  # fmt: skip
    await services.database[SUBSCRIPTIONS].insert_many(rows)
    return accounts


async def told(services: Services, accounts: Sequence[str]) -> Counter[str]:
    """How often each account was told; that its events are numbered without gaps."""
    rows = await services.database[EVENTS].find({"account_id": {"$in": list(accounts)}}).to_list()
    for account in accounts:
        seqs = sorted(row["seq"] for row in rows if row["account_id"] == account)
        assert seqs == list(range(1, len(seqs) + 1))
    return Counter(row["account_id"] for row in rows if row["type"] == "product.back")


def once(accounts: Sequence[str]) -> Counter[str]:
    return Counter(dict.fromkeys(accounts, 1))


async def jobs_of(services: Services, kind: str) -> list[Doc]:
    return await services.database[JOBS].find({"kind": f"notifications.{kind}"}).sort("_id").to_list()


async def fan_out(shop: Shop) -> list[Doc]:
    """Runs what waits in the ledger, as workers would; the jobs of the parts."""
    for kind in ("fan_out", "fan_out_part"):
        for job in await jobs_of(shop.services, kind):
            if job["state"] == "queued":
                ended = await shop.work(job["_id"])
                assert ended["state"] == "succeeded", ended
    return await jobs_of(shop.services, "fan_out_part")


async def parts_of(services: Services) -> tuple[str, int]:
    """The event that happened, split; its id, and how many parts there are."""
    (event,) = await happen(services, back(SKU), tell=False)
    made = await services.fan_outs.split(event["_id"])
    return event["_id"], made["parts"]


async def test_everybody_who_waits_is_told_by_an_event_of_their_own(shop: Shop, rewire: Any):
    pubsub = FakePubSub()
    services: Services = rewire(pubsub=pubsub)
    await shop.stock(CHAI=0)
    accounts = await waiting(services, 25)
    (event,) = await happen(services, back(SKU))
    parts = await fan_out(Shop(services))
    assert [job["result"]["told"] for job in parts] == [10, 10, 5]
    assert await told(services, accounts) == once(accounts)
    await services.events.drain()
    assert {account_channel(account) for account in accounts} <= {channel for channel, _ in pubsub.published}
    ((entry,), _) = await services.inbox.page(accounts[0], before=None, limit=5)
    assert entry.event["data"] == {"sku": SKU, "name": "CHAI", "event_id": event["_id"]}
    assert not {"available", "low_at"} & entry.event["data"].keys()


async def test_stock_that_comes_back_tells_who_asked_for_it(shop: Shop):
    services = shop.services
    await shop.stock(CHAI=0, TOFU=0)
    for account, sku, lasting in (("ada", SKU, False), ("eve", SKU, True), ("bob", "TOFU", False)):
        await services.subscriptions.subscribe(account, topic=TOPIC, subject=sku, lasting=lasting)
    for _ in range(2):
        await shop.adjust(SKU, 20)
        await services.events.drain()
        await fan_out(shop)
        await shop.adjust(SKU, -20)
    assert await told(services, ["ada", "eve", "bob"]) == {"ada": 1, "eve": 2}
    left = await services.subscriptions.page("ada", after=None, limit=5)
    assert left == []
    _, began = await services.subscriptions.subscribe("ada", topic=TOPIC, subject=SKU)
    assert began
    await shop.adjust(SKU, 20)
    await services.events.drain()
    await fan_out(shop)
    assert await told(services, ["ada", "eve"]) == {"ada": 2, "eve": 3}


async def test_what_nobody_waits_for_makes_no_job(shop: Shop):
    services = shop.services
    (event,) = await happen(services, back(SKU))
    assert await jobs_of(services, "fan_out") == []
    await waiting(services, 1)
    (event,) = await happen(services, back(SKU))
    route = services.events._telling._router
    assert route is not None
    await route([event, event])
    (job,) = await jobs_of(services, "fan_out")
    assert (job["key"], job["subject"]) == (event["_id"], SKU)


@pytest.mark.parametrize("lasting", [True, False])
async def test_a_part_that_is_run_again_or_by_two_tells_nobody_twice(
    services: Services,
    rewire: Callable[..., Services],
    lasting: bool,  # noqa: FBT001
):
    accounts = await waiting(services, 10, lasting=lasting)
    event_id, parts = await parts_of(services)
    assert parts == 1
    both = [services, rewire()]
    results = await asyncio.gather(*(each.fan_outs.tell(event_id, 0) for each in both))
    assert results == [{"told": 10}] * 2
    assert await services.fan_outs.tell(event_id, 0) == {"told": 10}
    assert await told(services, accounts) == once(accounts)


@pytest.mark.parametrize("lasting", [True, False])
async def test_a_part_that_was_cut_short_goes_on_where_it_was(
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    lasting: bool,  # noqa: FBT001
):
    accounts = await waiting(services, 10, lasting=lasting)
    event_id, _ = await parts_of(services)
    step, steps = services.fan_outs._step, 0

    async def killed(*about: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise asyncio.CancelledError
        await step(*about)

    with monkeypatch.context() as patch:
        patch.setattr(services.fan_outs, "_step", killed)
        with pytest.raises(asyncio.CancelledError):
            await services.fan_outs.tell(event_id, 0)
    assert await told(services, accounts) == once(accounts[:8])
    assert await services.fan_outs.tell(event_id, 0) == {"told": 10}
    assert await told(services, accounts) == once(accounts)


@LABELS
async def test_a_step_whose_commit_had_no_answer_tells_nobody_twice(services: Services, label: str):
    accounts = await waiting(services, 4)
    event_id, _ = await parts_of(services)
    with commit_whose_answer_is_lost(label):
        assert await services.fan_outs.tell(event_id, 0) == {"told": 4}
    assert await told(services, accounts) == once(accounts)


async def test_a_split_that_is_run_again_or_by_two_makes_the_same_parts(
    services: Services, rewire: Callable[..., Services]
):
    accounts = await waiting(services, 25)
    (event,) = await happen(services, back(SKU), tell=False)
    both = [services, rewire()]
    results = await asyncio.gather(
        *(each.fan_outs.split(event["_id"]) for each in both), return_exceptions=True
    )
    assert all(result == {"parts": 3} or isinstance(result, TryAgain) for result in results)
    await services.subscriptions.unsubscribe(accounts[0], topic=TOPIC, subject=SKU)
    assert await services.fan_outs.split(event["_id"]) == {"parts": 3}
    assert len(await jobs_of(services, "fan_out_part")) == 3
    for part in range(3):
        await services.fan_outs.tell(event["_id"], part)
    assert await told(services, accounts) == once(accounts[1:])


async def test_a_part_that_nobody_waits_for_any_more_ends(services: Services):
    accounts = await waiting(services, 5)
    event_id, _ = await parts_of(services)
    for account in accounts:
        await services.subscriptions.unsubscribe(account, topic=TOPIC, subject=SKU)
    assert await services.fan_outs.tell(event_id, 0) == {"told": 0}
    assert await told(services, accounts) == Counter()


async def test_who_begins_to_wait_before_the_event_is_seen_is_told(shop: Shop):
    services, changes = shop.services, Changes()
    await shop.stock(CHAI=0)
    cursors = await services.events.cursors([SHOP])
    recorded = services.events.record(changes, [back(SKU)], cursors=cursors, at=services.clock())
    await asyncio.sleep(0.002)
    await services.subscriptions.subscribe("ada", topic=TOPIC, subject=SKU)
    await changes.commit(services.database)
    services.events.publish(recorded)
    await services.events.drain()
    await fan_out(shop)
    assert await told(services, ["ada"]) == once(["ada"])


async def test_who_begins_to_wait_afterwards_is_not_told(services: Services, clock: Any):
    early = await waiting(services, 3)
    (event,) = await happen(services, back(SKU), tell=False)
    clock.move(seconds=fanout.LATE.total_seconds() + 1)
    late = await waiting(services, 3)
    assert await services.fan_outs.split(event["_id"]) == {"parts": 1}
    late += await waiting(services, 3)
    await services.fan_outs.tell(event["_id"], 0)
    assert await told(services, [*early, *late]) == once(early)


async def test_other_events_of_the_same_accounts_are_recorded_meanwhile(services: Services):
    accounts = await waiting(services, 10, lasting=True)
    event_id, _ = await parts_of(services)

    async def orders() -> int:
        recorded = 0
        for account in accounts:
            with suppress(GuardFailed):
                await happen(services, paid(account))
                recorded += 1
        return recorded

    result, others = await asyncio.gather(services.fan_outs.tell(event_id, 0), orders())
    assert result == {"told": 10}
    assert await told(services, accounts) == once(accounts)
    assert others == await services.database[EVENTS].count_documents({"type": "order.paid"})


async def test_two_events_at_once_are_both_told(services: Services):
    accounts = await waiting(services, 10, lasting=True)
    events = [await parts_of(services) for _ in range(2)]
    await asyncio.gather(*(services.fan_outs.tell(event_id, 0) for event_id, _ in events))
    assert await told(services, accounts) == Counter(dict.fromkeys(accounts, 2))
