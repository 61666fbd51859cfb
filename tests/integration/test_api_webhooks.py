"""Webhooks over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.values import new_id
from ops.environment import settings_of
from ops.stack import Stack
from tests.api import Api, User, open_api
from tests.conftest import environment_on
from tests.receiver import Receiver, answer, receiving
from tests.webhooks import LOCAL, Post

PATH = "/v1/webhooks/endpoints"
URL = "https://shop.example/hooks"


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with open_api(settings_of(environment_on(stack) | LOCAL)) as api:
        yield api


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def owner(api: Api) -> User:
    return api.user("webhooks:write")


async def made(user: User, **more: Any) -> dict[str, Any]:
    answered = await user.post(PATH + more.pop("query", ""), {"url": URL, **more})
    assert answered.status_code == 201, answered.text
    found: dict[str, Any] = answered.json()
    return found


def problem(answered: httpx.Response) -> tuple[int, str]:
    return answered.status_code, answered.json()["code"]


async def edit(user: User, endpoint: dict[str, Any], tag: str = "*", **fields: Any) -> httpx.Response:
    return await user.patch(f"{PATH}/{endpoint['id']}", fields, tag=tag)


async def test_an_endpoint_is_made_and_its_secret_shown_once(api: Api):
    user = owner(api)
    answered = await user.post(PATH, {"url": URL, "description": "warehouse", "events": ["order.*"]})
    endpoint = answered.json()
    assert answered.headers["location"] == f"{PATH}/{endpoint['id']}"
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert endpoint.items() >= {"of": "account", "enabled": True, "failures": 0, "url": URL}.items()
    one, listed = await user.get(f"{PATH}/{endpoint['id']}"), await user.get(PATH)
    assert one.json() == endpoint
    assert one.headers["etag"] == answered.headers["etag"]
    assert listed.json() == {"endpoints": [endpoint], "next_cursor": None}
    assert secret not in one.text + listed.text


async def test_a_repeated_creation_makes_no_second_endpoint(api: Api):
    user = owner(api)
    endpoint = await made(user)
    again = await user.post(PATH, {"url": URL})
    assert problem(again) == (409, "webhook_exists")
    assert again.json()["facts"] == {"endpoint": endpoint["id"]}
    await made(owner(api))


async def test_endpoints_are_listed_by_pages(api: Api):
    user = owner(api)
    ids = [(await made(user, url=f"{URL}/{n}"))["id"] for n in range(3)]
    page = (await user.get(f"{PATH}?limit=2")).json()
    rest = (await user.get(f"{PATH}?limit=2&cursor={page['next_cursor']}")).json()
    assert [each["id"] for each in page["endpoints"] + rest["endpoints"]] == ids
    assert rest["next_cursor"] is None


async def test_an_edit_needs_the_etag_and_changes_what_it_names(api: Api):
    user = owner(api)
    answered = await user.post(PATH, {"url": URL, "description": "old"})
    endpoint, tag = answered.json(), answered.headers["etag"]
    without = await user.client.patch(
        f"{PATH}/{endpoint['id']}", json={"enabled": False}, headers=user.headers()
    )
    assert problem(without) == (428, "if_match_missing")
    changed = await edit(user, endpoint, tag, enabled=False, events=["stock.low", "stock.low"])
    assert changed.json().items() >= {
        "enabled": False, "disabled_for": "by_owner", "events": ["stock.low"], "description": "old",
    }.items()  # fmt: skip
    assert problem(await edit(user, endpoint, tag, enabled=True)) == (412, "stale_revision")
    again = await edit(user, endpoint, changed.headers["etag"], enabled=True, description=None)
    assert again.json().items() >= {"enabled": True, "disabled_for": None, "description": None}.items()
    other = await made(user, url=f"{URL}/2")
    assert problem(await edit(user, other, url=URL)) == (409, "webhook_exists")
    assert problem(await edit(user, other, url="https://10.0.0.1/")) == (422, "webhook_url_refused")


async def test_a_deleted_endpoint_is_gone(api: Api):
    user = owner(api)
    endpoint = await made(user)
    path = f"{PATH}/{endpoint['id']}"
    assert (await user.delete(path)).status_code == 204
    assert problem(await user.delete(path)) == (404, "not_found")
    assert problem(await user.get(path)) == (404, "not_found")
    await made(user)


async def test_no_more_endpoints_are_made_than_there_may_be(api: Api):
    user = owner(api)
    for number in range(20):
        await made(user, url=f"{URL}/{number}")
    assert problem(await user.post(PATH, {"url": URL})) == (409, "too_many_webhooks")


async def test_what_makes_no_sense_is_refused(api: Api, subtests: pytest.Subtests):
    user = owner(api)
    refused, wrong = (422, "webhook_url_refused"), (422, "validation_error")
    cases: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"url": "https://169.254.169.254/latest"}, refused),
        ({"url": "https://ada:secret@shop.example/"}, refused),
        ({"url": "ftp://shop.example/"}, refused),
        ({"url": "https://shop.example/\u0000"}, refused),
        ({"url": "javascript:alert(1)"}, refused),
        ({"url": ""}, wrong),
        ({"url": "https://" + "x" * 2000}, wrong),
        ({"url": None}, wrong),
        ({"url": 5}, wrong),
        ({"events": []}, wrong),
        ({"events": ["order"]}, wrong),
        ({"events": ["*.paid"]}, wrong),
        ({"events": ["order.$ne"]}, wrong),
        ({"events": "order.*"}, wrong),
        ({"events": ["order.*"] * 101}, wrong),
        ({"events": ["order.payed"]}, (422, "invalid")),
        ({"events": ["nothing.*"]}, (422, "invalid")),
        ({"description": " "}, wrong),
        ({"description": "x" * 201}, wrong),
        ({"description": "a\u0000b"}, wrong),
        ({"enabled": "true"}, wrong),
        ({"secret": "whsec_mine"}, wrong),
    ]
    for more, expected in cases:
        with subtests.test(more=ascii(more)[:60]):
            assert problem(await user.post(PATH, {"url": URL, **more})) == expected
    endpoint = await made(user)
    for fields in ({}, {"url": None}, {"enabled": None}, {"events": None}, {"secret": "x"}, {"failures": 0}):
        with subtests.test(fields=str(fields)):
            assert problem(await edit(user, endpoint, **fields)) == wrong
    for body in ({"overlap": "soon"}, {"overlap": 5}, {"secret": "x"}):
        with subtests.test(body=str(body)):
            assert problem(await user.post(f"{PATH}/{endpoint['id']}/rotate-secret", body)) == wrong
    too_long = await user.post(f"{PATH}/{endpoint['id']}/rotate-secret", {"overlap": "31d"})
    assert problem(too_long) == (422, "invalid")
    some, when = [new_id()], "2026-11-22T10:00:00Z"
    wrong_wishes: tuple[dict[str, Any], ...] = (
        {},
        {"deliveries": []},
        {"deliveries": ["x"]},
        {"deliveries": some * 101},
        {"deliveries": some, "since": when},
        {"deliveries": some, "what": "all"},
        {"until": when},
        {"since": "yesterday"},
        {"since": "2026-11-22T10:00:00"},
        {"since": when, "until": when},
        {"since": when, "what": "some"},
    )
    for wish in wrong_wishes:
        with subtests.test(body=str(wish)[:60]):
            assert problem(await user.post(f"{PATH}/{endpoint['id']}/redeliver", wish)) == wrong
    assert problem(await user.get(f"{PATH}/{endpoint['id']}/deliveries?state=lost")) == wrong


async def test_somebody_elses_endpoint_is_not_found(api: Api, subtests: pytest.Subtests):
    endpoint, stranger = await made(owner(api)), owner(api)
    path = f"{PATH}/{endpoint['id']}"
    for answered in (
        await stranger.get(path),
        await edit(stranger, endpoint, enabled=False),
        await stranger.delete(path),
        await stranger.post(f"{path}/rotate-secret", {}),
        await stranger.post(f"{path}/test"),
        await stranger.post(f"{path}/redeliver", {"since": "2026-11-22T10:00:00Z"}),
        await stranger.get(f"{path}/deliveries"),
        await stranger.get(f"{path}/deliveries/{new_id()}"),
    ):
        with subtests.test(route=str(answered.request.url)):
            assert problem(answered) == (404, "not_found")


async def test_scopes_say_whose_endpoints_somebody_manages(api: Api):
    customer, writer, manager = api.user("ops:read"), owner(api), api.user("webhooks:manage")
    for path in (PATH, f"{PATH}?of=shop", f"{PATH}/x", f"{PATH}/x/deliveries"):
        assert problem(await customer.get(path)) == (403, "forbidden")
    assert problem(await writer.post(f"{PATH}?of=shop", {"url": URL})) == (403, "forbidden")
    assert problem(await writer.get(f"{PATH}?of=shop")) == (403, "forbidden")
    assert problem(await manager.post(PATH, {"url": URL})) == (403, "forbidden")
    shops = await made(manager, query="?of=shop")
    assert shops["of"] == "shop"
    assert shops["id"] in [each["id"] for each in (await manager.get(f"{PATH}?of=shop")).json()["endpoints"]]
    assert problem(await writer.get(f"{PATH}/{shops['id']}")) == (404, "not_found")
    own = await made(writer)
    assert (await manager.get(f"{PATH}/{own['id']}")).json()["url"] == URL
    assert (await edit(manager, own, enabled=False)).status_code == 200
    assert (await manager.delete(f"{PATH}/{shops['id']}")).status_code == 204
    acts = api.store["audit_log"].find({"actor": manager.id}).sort("_id", 1)
    assert [(act["action"], act["outcome"]) for act in acts] == [
        ("webhook.create", "done"), ("webhook.edit", "done"), ("webhook.delete", "done"),
    ]  # fmt: skip
    assert api.store["audit_log"].count_documents({"actor": writer.id}) == 0


async def test_a_test_event_is_sent_once_and_its_job_has_the_outcome(api: Api, receiver: Receiver):
    user = owner(api)
    endpoint = await made(user, url=receiver.url("/test"), enabled=False)
    path = f"{PATH}/{endpoint['id']}"
    assert problem(await user.client.post(f"{path}/test", headers=user.headers())) == (
        400, "idempotency_key_missing",
    )  # fmt: skip
    answered = await user.post(f"{path}/test", key="try")
    assert answered.status_code == 202
    assert (await user.post(f"{path}/test", key="try")).headers["idempotent-replayed"] == "true"
    job_id = answered.json()["job_id"]
    await api.shop.work(job_id)
    job = (await user.get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["result"]["status"]) == ("succeeded", 200)
    (call,) = receiver.at("/test")
    event = call.verified(endpoint["secret"])
    assert (event["type"], event["id"], event["subject"], event["seq"]) == (
        "webhook.test", job_id, endpoint["id"], 0,
    )  # fmt: skip
    receiver.answers["/test"] = answer(500, "broken")
    job_id = (await user.post(f"{path}/test")).json()["job_id"]
    await api.shop.work(job_id)
    job = (await user.get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "webhook_undelivered")
    delivery = (await user.get(f"{path}/deliveries/{job_id}")).json()
    assert (delivery["state"], delivery["tries"]) == ("failed", 1)
    (attempt,) = delivery["attempts"]
    assert attempt.items() >= {"status": 500, "error": None, "body": "broken"}.items()
    assert (await user.get(path)).json()["failures"] == 0


async def test_the_log_and_a_redelivery(api: Api, receiver: Receiver):
    user, post = owner(api), Post(api.services, receiver)
    endpoint = await made(user, url=receiver.url("/log"))
    receiver.answers["/log"] = answer(418)
    row = await api.services.webhooks.endpoints.get(endpoint["id"], owner=user.id)
    await post.happen(user.id)
    (failed,) = await post.send(row)
    receiver.answers["/log"] = answer(200, "thanks")
    await post.happen(user.id, user.id)
    await post.send(row)
    path = f"{PATH}/{endpoint['id']}"
    page = (await user.get(f"{path}/deliveries?limit=2")).json()
    rest = (await user.get(f"{path}/deliveries?limit=2&cursor={page['next_cursor']}")).json()
    listed = page["deliveries"] + rest["deliveries"]
    assert [each["state"] for each in listed] == ["delivered"] * 3
    assert [each["tries"] for each in listed] == [1, 1, 2]
    assert "attempts" not in listed[0]
    assert (await user.get(f"{path}/deliveries?state=failed")).json()["deliveries"] == []
    one = (await user.get(f"{path}/deliveries/{failed['_id']}")).json()
    assert [(each["status"], each["body"]) for each in one["attempts"]] == [(418, ""), (200, "thanks")]
    other = await made(user, url=receiver.url("/other"))
    foreign = await user.get(f"{PATH}/{other['id']}/deliveries/{failed['_id']}")
    assert problem(foreign) == (404, "not_found")
    answered = await user.post(f"{path}/redeliver", {"deliveries": [failed["_id"]]})
    assert answered.status_code == 202
    job = await api.shop.work(answered.json()["job_id"])
    assert (job["owner"], job["result"]["sent"]) == (user.id, 1)


async def test_a_rotated_secret_is_shown_once_and_the_old_one_signs_for_a_while(api: Api):
    user = owner(api)
    endpoint = await made(user)
    answered = await user.post(f"{PATH}/{endpoint['id']}/rotate-secret", {"overlap": "1h"})
    rotated = answered.json()
    assert rotated["secret"] not in ("", endpoint["secret"])
    shown = (await user.get(f"{PATH}/{endpoint['id']}")).json()
    assert len(shown["old_secrets_until"]) == 1
    assert (await user.post(f"{PATH}/{endpoint['id']}/rotate-secret")).status_code == 200
