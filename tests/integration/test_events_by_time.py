"""The events of all accounts in the order of their time, for those who listen to one type of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from api.cursors import encode
from domain.changes import Changes
from domain.events import times
from domain.events.models import TIMES, NewEvent
from domain.settings import Settings
from domain.values import new_id
from tests.api import Api, User, open_api


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


def paid(account_id: str) -> NewEvent:
    order_id = new_id()
    return NewEvent(
        account_id, "order.paid", order_id, {"order_id": order_id, "state": "paid", "payment_id": "p"}
    )


def expired(account_id: str) -> NewEvent:
    order_id = new_id()
    return NewEvent(account_id, "order.expired", order_id, {"order_id": order_id, "state": "expired"})


async def happen(api: Api, *new: NewEvent, ago: timedelta = timedelta()) -> list[str]:
    """One transaction's events, that long ago; their ids."""
    events, changes = api.services.events, Changes()
    cursors = await events.cursors([each.account_id for each in new])
    recorded = events.record(changes, new, cursors=cursors, at=api.services.clock() - ago)
    await changes.commit(api.services.database)
    return [event["_id"] for event in recorded.events]


async def read(user: User, since: datetime, **query: Any) -> tuple[list[list[str]], str | None]:
    """The ids of every page, and `next_since`."""
    pages: list[list[str]] = []
    params = {"since": since.isoformat(), **query}
    while True:
        answer = await user.get("/v1/ops/events", params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        pages.append([event["id"] for event in body["events"]])
        if body["next_cursor"] is None:
            return pages, body["next_since"]
        assert body["next_since"] is None
        params["cursor"] = body["next_cursor"]


def flat(pages: Sequence[Sequence[str]]) -> list[str]:
    return [each for page in pages for each in page]


async def test_events_of_all_accounts_are_read_in_the_order_of_their_time(api: Api):
    ops, now = api.user("ops:read"), api.services.clock()
    old = await happen(api, paid("ada"), expired("bob"), ago=timedelta(minutes=9))
    both = await happen(api, paid("bob"), paid("ada"), ago=timedelta(minutes=5))
    new = await happen(api, expired("ada"))
    pages, next_since = await read(ops, now - timedelta(minutes=10))
    assert flat(pages) == [*old, *both, *new]
    assert next_since is not None
    of_type, _ = await read(ops, now - timedelta(minutes=10), type="order.paid")
    assert flat(of_type) == [old[0], *both]
    later, _ = await read(ops, now - timedelta(minutes=6), type="order.paid")
    assert flat(later) == both


async def test_pages_of_any_size_miss_nothing_and_repeat_nothing(api: Api):
    ops, now = api.user("ops:read"), api.services.clock()
    stored = [
        await happen(api, *(paid(f"buyer{n}") for n in range(4)), ago=timedelta(seconds=40 - step))
        for step in range(0, 40, 5)
    ]
    for limit in (1, 3, 4, 32, 200):
        pages, _ = await read(ops, now - timedelta(minutes=1), limit=limit)
        assert flat(pages) == flat(stored), limit
        assert max(map(len, pages)) <= limit


async def test_the_next_reading_begins_early_enough_for_what_was_seen_late(api: Api):
    ops, since = api.user("ops:read"), api.services.clock() - timedelta(minutes=10)
    first = await happen(api, paid("ada"))
    pages, next_since = await read(ops, since)
    assert next_since is not None
    # A transaction that took long: its time is before what was read already.
    late = await happen(api, paid("bob"), ago=timedelta(seconds=30))
    again, _ = await read(ops, datetime.fromisoformat(next_since))
    assert flat(pages) == first
    assert flat(again) == late + first


async def test_a_long_silence_takes_more_pages_and_not_more_work(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(times, "SPANS", 10)
    ops, now = api.user("ops:read"), api.services.clock()
    stored = await happen(api, paid("ada"))
    pages, _ = await read(ops, now - timedelta(hours=2))
    assert flat(pages) == stored
    assert [] in pages


async def test_what_happened_after_a_long_silence_is_read_in_parts_and_all_of_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(times, "ROWS", 5)
    reading, asked = api.services.events.times, list[bool]()
    ops, now = api.user("ops:read"), api.services.clock()
    stored = [await happen(api, paid("ada"), ago=timedelta(seconds=60 - step)) for step in range(0, 60, 3)]
    places = reading._places

    async def counted(low: datetime, high: datetime, kind: str | None) -> Any:
        found = await places(low, high, kind)
        asked.append(found is None)
        return found

    monkeypatch.setattr(reading, "_places", counted)
    pages, _ = await read(ops, now - timedelta(days=4))
    assert flat(pages) == flat(stored)
    assert any(asked)
    assert len(asked) < 200


async def test_times_are_forgotten_after_a_month_and_events_are_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(times, "SWEEP", 3)
    monkeypatch.setattr(times, "SWEEP_PART", 2)
    events, database = api.services.events, api.services.database
    for days in (40, 36, 35, 33):
        await happen(api, paid("ada"), ago=timedelta(days=days))
    kept = await happen(api, paid("ada"), ago=timedelta(days=30))
    assert [await events.times.sweep() for _ in range(3)] == [3, 1, 0]
    assert [row["events"] async for row in database[TIMES].find()] == [kept]
    assert len(await events.after("ada", 0, limit=10)) == 5


async def test_who_reads_while_others_write_has_all_in_the_end(api: Api):
    ops, since = api.user("ops:read"), api.services.clock() - timedelta(seconds=5)
    seen: set[str] = set()
    stored: list[str] = []

    async def write(account_id: str) -> None:
        for _ in range(10):
            stored.extend(await happen(api, paid(account_id), expired(account_id)))

    async def listen(writers: asyncio.Future[Any]) -> None:
        start, last = since, False
        while not last:
            last = writers.done()
            pages, next_since = await read(ops, start)
            seen.update(flat(pages))
            start = datetime.fromisoformat(str(next_since))

    writers = asyncio.gather(*(write(f"buyer{n}") for n in range(3)))
    await listen(writers)
    assert seen == set(stored)


async def test_only_those_who_may_see_everybodys_orders_read_everybodys_events(api: Api):
    params = {"since": api.services.clock().isoformat()}
    assert (await api.client.get("/v1/ops/events", params=params)).status_code == 401
    for user in (api.user(), api.user("inventory:read", "catalog:write")):
        answer = await user.get("/v1/ops/events", params=params)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_reading_has_bounds(api: Api, subtests: pytest.Subtests):
    ops, now = api.user("ops:read"), api.services.clock()
    good = {"since": now.isoformat()}
    for what, params, field in (
        ("no since", {}, "query.since"),
        ("a time without its zone", {"since": "2026-11-22T10:00:00"}, "query.since"),
        ("no time", {"since": "yesterday"}, "query.since"),
        ("long ago", {"since": (now - timedelta(days=32)).isoformat()}, "query.since"),
        ("a type that is none", good | {"type": "order.eaten"}, "query.type"),
        ("a NUL", good | {"type": "order.paid\x00"}, "query.type"),
        ("too many", good | {"limit": 201}, "query.limit"),
    ):
        with subtests.test(what):
            answer = await ops.get("/v1/ops/events", params=params)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    for cursor in ("x", "WzFd", "Wy0xLCIiXQ", "W251bGwsIiJd"):
        answer = await ops.get("/v1/ops/events", params=good | {"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")
    for stamp in (0, 253_402_300_799_999):
        answer = await ops.get("/v1/ops/events", params=good | {"cursor": encode([stamp, ""])})
        assert (answer.status_code, answer.json()["events"]) == (200, [])
    for later in ((now + timedelta(days=1)).isoformat(), "9999-12-31T23:59:59-23:59"):
        answer = await ops.get("/v1/ops/events", params={"since": later})
        assert (answer.status_code, answer.json()["events"], answer.json()["next_cursor"]) == (200, [], None)
        assert datetime.fromisoformat(answer.json()["next_since"]) <= api.services.clock()
