"""Events over HTTP: replayed by `seq`, followed by server-sent events from a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api import stream
from domain.changes import Changes
from domain.events.models import NewEvent
from domain.events.rules import SHOP, account_channel
from domain.settings import Settings
from domain.values import new_id
from tests.api import Api, User, open_api, serving


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


async def happen(api: Api, user: User, count: int = 1, *, publish: bool = True) -> None:
    """So many events of the account, stored and, unless told otherwise, published."""
    for _ in range(count):
        order = {"order_id": new_id(), "state": "reserved", "currency": "USD"}
        new = [NewEvent(user.id, "order.reserved", order["order_id"], order)]
        await record(api, new, publish=publish)


async def record(api: Api, new: Sequence[NewEvent], *, publish: bool = True) -> None:
    events, changes = api.services.events, Changes()
    cursors = await events.cursors([event.account_id for event in new])
    recorded = events.record(changes, new, cursors=cursors, at=api.services.clock())
    await changes.commit(api.services.database)
    if publish:
        events.publish(recorded)


async def test_events_are_replayed_after_a_seq(api: Api):
    user = api.user()
    await happen(api, user, 5)
    await happen(api, api.user(), 1)
    first = (await user.get("/v1/events", params={"limit": 2})).json()
    assert [event["seq"] for event in first["events"]] == [1, 2]
    assert (first["last_seq"], first["next_after"]) == (5, 2)
    assert first["events"][0]["source"] == f"/accounts/{user.id}"
    rest = (await user.get("/v1/events", params={"after": first["next_after"]})).json()
    assert [event["seq"] for event in rest["events"]] == [3, 4, 5]
    nothing = (await user.get("/v1/events", params={"after": 5})).json()
    assert nothing == {"events": [], "last_seq": 5, "next_after": 5}


async def test_who_reads_on_from_what_has_not_happened_is_told_so_and_not_left_waiting(api: Api):
    user = api.user()
    await happen(api, user, 3)
    headers = user.headers() | {"Last-Event-ID": "4"}
    for answer in (
        await user.get("/v1/events", params={"after": 4}),
        await user.get("/v1/stream", params={"after": 4}),
        await api.client.get("/v1/stream", headers=headers),
        await api.user("inventory:read").get("/v1/stream", params={"after": 1, "of": "shop"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "seq_ahead")
    assert answer.json().get("facts", {}).get("last_seq") == 0


async def test_a_cursor_has_bounds(api: Api):
    for after in ("-1", "x", "1.5", str(2**63), str(10**30)):
        answer = await api.user().get("/v1/events", params={"after": after})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.after")
        answer = await api.client.get("/v1/stream", headers=api.user().headers() | {"Last-Event-ID": after})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "header.Last-Event-ID")


@dataclass(slots=True)
class Stream:
    """What an open stream has told."""

    answer: httpx.Response
    lines: AsyncIterator[str]

    async def next(self) -> dict[str, Any]:
        """The next message: its fields, with `data` parsed."""
        fields: dict[str, Any] = {}
        async with asyncio.timeout(5):
            async for line in self.lines:
                if not line and "data" in fields:
                    return fields | {"data": json.loads(fields["data"])}
                name, _, value = line.partition(": ")
                fields[name] = value
        return {}

    async def seqs(self, count: int) -> list[int]:
        return [int((await self.next())["id"]) for _ in range(count)]


@asynccontextmanager
async def following(url: str, user: User, *, of: str = "", **headers: str) -> AsyncIterator[Stream]:
    path = f"/v1/stream?of={of}" if of else "/v1/stream"
    async with (
        httpx.AsyncClient(base_url=url) as client,
        client.stream("GET", path, headers=user.headers() | headers) as answer,
    ):
        assert answer.status_code == 200
        yield Stream(answer, answer.aiter_lines())


async def test_a_stream_resumes_after_the_last_event_id_and_goes_on(api: Api):
    user = api.user()
    await happen(api, user, 4)
    async with serving(api) as (_, url):
        async with following(url, user, **{"Last-Event-ID": "2"}) as told:
            assert told.answer.headers["content-type"].startswith("text/event-stream")
            assert told.answer.headers["cache-control"] == "no-store"
            assert told.answer.headers["x-frame-options"] == "DENY"
            first = await told.next()
            assert (first["id"], first["event"]) == ("3", "order.reserved")
            assert first["data"]["source"] == f"/accounts/{user.id}"
            assert await told.seqs(1) == [4]
            await happen(api, user, 2)
            assert await told.seqs(2) == [5, 6]
        await happen(api, user, 2)
        async with following(url, user, **{"Last-Event-ID": "6"}) as told:
            assert await told.seqs(2) == [7, 8]


async def test_a_new_stream_begins_with_what_happens_next(api: Api):
    user = api.user()
    await happen(api, user, 3)
    async with serving(api) as (_, url), following(url, user) as told:
        await api.until_waiting()
        await happen(api, api.user())
        await happen(api, user)
        assert await told.seqs(1) == [4]


async def test_gaps_are_filled_and_repetitions_left_out(api: Api):
    user = api.user()
    async with serving(api) as (_, url), following(url, user, **{"Last-Event-ID": "0"}) as told:
        await api.until_waiting()
        await happen(api, user)
        assert await told.seqs(1) == [1]
        await happen(api, user, 2, publish=False)
        await happen(api, user)
        assert await told.seqs(3) == [2, 3, 4]
        (last,) = await api.services.events.after(user.id, 3, limit=1)
        old = json.dumps({"seq": last["seq"], "type": "old"})
        await api.services.pubsub.publish([(account_channel(user.id), old)])
        await happen(api, user)
        assert await told.seqs(1) == [5]


async def low(api: Api, count: int) -> None:
    """So many events of the shop."""
    level = {"sku": "A", "location": "main", "available": 1, "low_at": 2}
    await record(api, [NewEvent(SHOP, "stock.low", "A", level)] * count)


async def test_the_shops_stream_is_for_those_who_may_see_stock(api: Api):
    clerk = api.user("inventory:read", scopes=frozenset())
    await low(api, 2)
    async with serving(api) as (_, url):
        async with following(url, clerk, of="shop", **{"Last-Event-ID": "1"}) as told:
            first = await told.next()
            assert (first["id"], first["event"], first["data"]["source"]) == (
                "2",
                "stock.low",
                "/accounts/shop",
            )
            await low(api, 2)
            assert await told.seqs(2) == [3, 4]
        for user, of, status in (
            (clerk, "", 403), (api.user(), "shop", 403), (clerk, "everybody", 422), (clerk, "shop%00", 422),
        ):  # fmt: skip
            answer = await user.get("/v1/stream", params={"of": of} if of else {})
            assert answer.status_code == status, of


async def test_a_quiet_stream_beats_and_looks_into_the_store(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.2)
    user = api.user()
    async with serving(api) as (_, url), following(url, user, **{"Last-Event-ID": "0"}) as told:
        beat = await told.next()
        assert (beat["event"], beat["data"]) == ("heartbeat", {"last_seq": 0})
        await happen(api, user, publish=False)
        message = await told.next()
        while message["event"] == "heartbeat":
            message = await told.next()
        assert message["id"] == "1"
        assert (await told.next())["data"] == {"last_seq": 1}


async def test_a_stream_ends_with_its_token(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.1)
    user = api.user()
    async with serving(api) as (_, url), following(url, user) as told:
        await told.next()
        access, real = api.services.accounts._access, api.services.clock
        monkeypatch.setattr(access, "_clock", lambda: real() + timedelta(hours=1))
        assert await read_to_end(told) == "ended"


async def test_a_stream_ends_with_its_session(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.1)
    user = api.user()
    async with serving(api) as (_, url), following(url, user) as told:
        await told.next()
        assert await api.services.accounts.sessions.end_all(user.id) == 1
        assert await read_to_end(told) == "ended"


async def test_a_client_that_leaves_is_let_go(api: Api):
    async with serving(api) as (_, url):
        async with following(url, api.user()):
            await api.until_waiting()
        async with asyncio.timeout(3):
            while api.app.state.gate.waiting:  # noqa: ASYNC110 - the gate is no event
                await asyncio.sleep(0.01)
        assert api.app.state.gate.working == 0


async def test_a_stop_ends_streams_and_waits_at_once(api: Api):
    user = api.user()
    job_id = (await user.post("/v1/reservations", {"items": [{"sku": "A", "quantity": 1}]})).json()["id"]
    async with (
        serving(api) as (server, url),
        following(url, user) as told,
        httpx.AsyncClient(base_url=url) as client,
    ):
        path = f"/v1/jobs/{job_id}?wait=20"
        waiting = asyncio.create_task(client.get(path, headers=user.headers()))
        await api.until_waiting(2)
        server.should_exit = True
        async with asyncio.timeout(2):
            assert await read_to_end(told) == "ended"
            assert (await waiting).json()["state"] == "queued"


async def read_to_end(told: Stream) -> str:
    with suppress(httpx.RemoteProtocolError):
        while await told.next():
            pass
    return "ended"
