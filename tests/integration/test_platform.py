"""The platform's own duties over HTTP: input that is refused, readiness, shedding, documentation."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from pymongo.errors import OperationFailure

from api.cursors import encode
from api.gate import Gate
from domain.adapters.mongo import SIGNS, SignOfLife
from domain.bootstrap import open_services
from domain.settings import Api as ApiSettings
from domain.settings import Mongo, Settings
from domain.values import new_id
from tests.api import ORDER, Api, User, open_api
from tests.factories import eventually


@pytest.fixture
def user(api: Api) -> User:
    return api.user("inventory:read", "inventory:write")


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_a_cursor_that_no_listing_gave_is_refused(api: Api, user: User):
    await api.shop.stock(CHAI=5)
    for path in ("/v1/orders", "/v1/jobs", "/v1/inventory/CHAI/movements"):
        for odd in ("x", "$gt", "\0", encode({"$gt": ""}), encode(7), "A" * 5000):
            answer = await user.get(path, params={"cursor": odd})
            assert code(answer) == (422, "invalid_cursor"), (path, odd)
    assert code(await user.get("/v1/orders", params={"cursor": encode("CHAI")})) == (422, "invalid_cursor")
    for path in ("/v1/orders", "/v1/jobs"):
        assert (await user.get(path, params={"cursor": encode(new_id())})).status_code == 200


async def test_text_is_not_blank_and_has_no_control_characters(api: Api, user: User):
    await api.shop.stock(CHAI=5)
    for odd in ("", " ", "\t", "a\0b", "a\nb", "\u2003", "\x85", "\x7f"):
        for field in ("name", "line1", "line2", "city", "region", "postal_code", "country"):
            body = {**ORDER, "address": {**ORDER["address"], field: odd}}  # type: ignore[dict-item]
            answer = await user.post("/v1/orders", body)
            assert code(answer) == (422, "validation_error"), (field, odd)
        reason = {"quantity": 1, "reason": odd}
        assert code(await user.post("/v1/inventory/CHAI/adjustments", reason)) == (422, "validation_error")


async def test_text_is_stripped(api: Api, user: User):
    body = {**ORDER, "address": {**ORDER["address"], "name": "  Ada Lovelace "}}  # type: ignore[dict-item]
    placed = (await user.post("/v1/orders", body)).json()
    job = await api.services.jobs.get(placed["job_id"], owner=None)
    assert job["payload"]["address"]["name"] == "Ada Lovelace"


async def test_a_member_that_is_there_twice_is_malformed(user: User):
    good = json.dumps(ORDER)
    for twice in (
        good[:-1] + ', "items": [{"sku": "TEA", "quantity": 1}]}',
        good.replace('"sku": "CHAI"', '"sku": "TEA", "sku": "CHAI"'),
        good.replace('"sku": "CHAI"', '"sku": "TEA", "s\\u006bu": "CHAI"'),
    ):
        headers = user.headers() | {"Content-Type": "application/json", "Idempotency-Key": new_id()}
        answer = await user.client.post("/v1/orders", content=twice, headers=headers)
        assert code(answer) == (400, "malformed_body")
        assert "two members of one name" in answer.json()["detail"]


async def test_numbers_are_written_as_numbers(user: User):
    for path, odd in (
        ("/v1/jobs/x", {"wait": "1_0"}),
        ("/v1/jobs/x", {"wait": " 1"}),
        ("/v1/jobs", {"limit": "1_0"}),
        ("/v1/orders", {"limit": "\u0661"}),
        ("/v1/events", {"after": "1_0"}),
    ):
        assert code(await user.get(path, params=odd)) == (422, "validation_error"), odd
    headers = user.headers() | {"Last-Event-ID": "1_0"}
    assert code(await user.client.get("/v1/stream", headers=headers)) == (422, "validation_error")


async def test_two_idempotency_keys_are_none(user: User):
    headers = [*user.headers().items(), ("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    answer = await user.client.post("/v1/orders", json=ORDER, headers=headers)
    assert code(answer) == (400, "idempotency_key_invalid")


async def test_an_orders_own_hold_is_no_reservation(api: Api, user: User):
    await api.shop.stock(CHAI=5)
    first = (await user.post("/v1/orders", ORDER)).json()["id"]
    await api.settle(first)
    second = (await user.post("/v1/orders", {**ORDER, "reservation_id": first})).json()["id"]
    await api.settle(second)
    job = (await user.get(f"/v1/jobs/{second}")).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "reservation_not_found")


async def test_readiness_counts_connections_and_requests(api: Api):
    ready = (await api.client.get("/readyz")).json()
    counts = {name: each["connections"] for name, each in ready["services"].items()}
    assert counts["mongodb"]["open"] >= 1
    assert counts["mongodb"]["in_use"] >= 0
    assert (counts["mongodb"]["waiting"], counts["mongodb"]["failed"]) == (0, 0)
    assert counts["redis"]["open"] >= 1
    assert (counts["rabbitmq"]["open"], counts["rabbitmq"]["waiting"]) == (1, 0)
    assert ready["requests"].keys() == {"working", "waiting", "places", "shed"}


class NoWrites:
    """A store that reads, such as one that has lost its majority."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.refused = 0

    async def command(self, name: str) -> Any:
        return await self._database.command(name)

    def __getitem__(self, name: str) -> "NoWrites":
        return self

    async def update_one(self, *_: Any, **__: Any) -> None:
        self.refused += 1
        raise OperationFailure("not writable primary", 10107)


async def test_a_store_that_takes_no_writes_is_not_ready(api: Api):
    store = NoWrites(api.services.database)
    pings: Any = api.services.pings
    pings["mongodb"] = SignOfLife(store)  # type: ignore[arg-type]
    for _ in range(2):
        answer = await api.client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert store.refused == 2


async def test_readiness_writes_seldom_and_always_the_same(api: Api):
    before = await api.services.database[SIGNS].find_one({"_id": "readyz"})
    assert before is None
    await asyncio.gather(*(api.client.get("/readyz") for _ in range(5)))
    (first,) = await api.services.database[SIGNS].find().to_list()
    await api.client.get("/readyz")
    assert await api.services.database[SIGNS].find().to_list() == [first]


async def test_who_waits_for_the_store_is_counted_and_sheds_the_rest(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    tight = settings.model_copy(
        update={
            "mongo": Mongo(max_pool_size=1),
            "api": ApiSettings.model_validate({"max_store_wait": "20ms"}),
        }
    )
    async with open_api(tight) as api:
        await api.app.state.warming
        user, client = api.user(), api.services.database.client
        (server,) = client._topology._servers.values()
        async with server.pool.checkout():
            waiting = asyncio.create_task(user.get("/v1/orders"))
            await eventually(lambda: api.services.connections["mongodb"]().waiting == 1)
            await asyncio.sleep(0.05)
            refused = await user.get("/v1/orders")
            assert code(refused) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            assert (await api.client.get("/healthz")).status_code == 200
        assert (await waiting).status_code == 200
        assert (await user.get("/v1/orders")).status_code == 200
        assert api.app.state.gate.counts() == {"working": 0, "waiting": 0, "places": 512, "shed": 1}


async def test_a_wait_for_the_store_that_is_given_up_is_counted_no_longer(settings: Settings):
    tight = settings.model_copy(update={"mongo": Mongo(max_pool_size=1)})
    async with open_services(tight) as services:
        (server,) = services.database.client._topology._servers.values()
        async with server.pool.checkout():
            asked = asyncio.create_task(services.database["jobs"].find_one({}))
            await eventually(lambda: services.store_wait() > 0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            assert services.store_wait() == 0
            assert services.connections["mongodb"]().waiting == 0


def test_the_gate_is_full_when_its_places_or_the_stores_are():
    gate = Gate(2, longest_wait=1.0)
    assert not gate.full()
    gate.working = 2
    assert gate.full()
    gate.working, gate.store_wait = 0, lambda: 1.1
    assert gate.full()
    assert not Gate(1).full()


async def test_the_page_of_the_documentation_needs_no_script_and_no_other_host(api: Api):
    page = await api.client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[^']+'; frame-ancestors 'none'", policy)
    assert "<script" not in page.text
    # Examples name addresses; nothing is fetched from one, and nothing leads there.
    assert not re.search(r"""(?:href|src|action)\s*=\s*["']?https?:|url\(|@import""", page.text)
    document = (await api.client.get("/openapi.json")).json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert page.text.count("<details>") == len(operations)
    assert all(path in page.text for path in document["paths"])


async def test_pages_of_any_origin_come_without_credentials(settings: Settings):
    for origins, credentials in ((["*"], None), (["https://shop.example"], "true")):
        allowed = settings.model_copy(update={"api": ApiSettings(cors_origins=origins)})
        async with open_api(allowed) as api:
            answer = await api.client.get("/healthz", headers={"Origin": "https://shop.example"})
            assert answer.headers.get("access-control-allow-credentials") == credentials
