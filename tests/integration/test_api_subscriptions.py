"""Subscriptions over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.notifications import subscriptions
from domain.settings import Settings
from tests.api import Api, User, open_api


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        await api.shop.stock(CHAI=0, TOFU=0, TEA=0)
        yield api


async def subscribe(user: User, sku: str, body: Any = None, *, topic: str = "stock.back") -> httpx.Response:
    return await user.client.put(f"/v1/subscriptions/{topic}/{sku}", json=body, headers=user.headers())


async def listed(user: User, **params: Any) -> list[str]:
    page = (await user.get("/v1/subscriptions", params=params)).json()
    return [each["subject"] for each in page["subscriptions"]]


async def test_an_account_subscribes_looks_and_unsubscribes(api: Api):
    ada, eve = api.user(), api.user()
    made = (await subscribe(ada, "CHAI")).json()
    assert (made["topic"], made["subject"], made["lasting"]) == ("stock.back", "CHAI", False)
    lasting = (await subscribe(ada, "TOFU", {"lasting": True})).json()
    assert lasting["lasting"] is True
    assert await listed(ada) == ["CHAI", "TOFU"]
    assert await listed(eve) == []
    assert (await eve.delete("/v1/subscriptions/stock.back/CHAI")).status_code == 204
    assert await listed(ada) == ["CHAI", "TOFU"]
    for _ in range(2):
        assert (await ada.delete("/v1/subscriptions/stock.back/CHAI")).status_code == 204
    assert await listed(ada) == ["TOFU"]


async def test_a_repetition_changes_nothing_but_whether_it_lasts(api: Api):
    ada = api.user()
    first = (await subscribe(ada, "CHAI")).json()
    assert (await subscribe(ada, "CHAI")).json() == first
    assert (await subscribe(ada, "CHAI", {"lasting": True})).json() == first | {"lasting": True}
    answers = await asyncio.gather(*(subscribe(ada, "TEA") for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["since"] for answer in answers}) == 1
    assert await listed(ada) == ["CHAI", "TEA"]


async def test_pages_follow_each_other(api: Api):
    ada = api.user()
    for sku in ("TOFU", "CHAI", "TEA"):
        await subscribe(ada, sku)
    page = (await ada.get("/v1/subscriptions", params={"limit": 2})).json()
    assert [each["subject"] for each in page["subscriptions"]] == ["CHAI", "TEA"]
    assert await listed(ada, cursor=page["next_cursor"]) == ["TOFU"]


async def test_an_account_has_so_many_however_many_it_asks_for_at_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(subscriptions, "MOST_SUBSCRIPTIONS", 2)
    ada = api.user()
    answers = await asyncio.gather(*(subscribe(ada, sku) for sku in ("CHAI", "TOFU", "TEA")))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409]
    (refused,) = [answer.json() for answer in answers if answer.status_code == 409]
    assert (refused["code"], refused["facts"]) == ("too_many_subscriptions", {"most": 2})
    there = await listed(ada)
    assert len(there) == 2
    assert (await subscribe(ada, there[0], {"lasting": True})).status_code == 200


async def test_what_cannot_be_waited_for_is_refused(api: Api):
    ada = api.user()
    unknown = await subscribe(ada, "NO-SUCH")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_sku")
    for call in (subscribe(ada, "CHAI", topic="stock.low"), ada.delete("/v1/subscriptions/stock.low/CHAI")):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for sku in ("%00", "a%20b", "x" * 65):
        assert (await subscribe(ada, sku)).status_code == 422
    wrong: list[Any] = [{"lasting": "yes"}, {"lasting": None}, {"often": True}, []]
    for body in wrong:
        assert (await subscribe(ada, "CHAI", body)).status_code == 422
    assert await listed(ada) == []


async def test_scopes_are_asked_for(api: Api):
    nobody = api.user(scopes=frozenset({"media:write"}))
    for call in (
        subscribe(nobody, "CHAI"),
        nobody.get("/v1/subscriptions"),
        nobody.delete("/v1/subscriptions/stock.back/CHAI"),
    ):
        assert (await call).status_code == 403
    assert (await api.client.get("/v1/subscriptions")).status_code == 401
