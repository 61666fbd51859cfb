"""API keys over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.values import new_id
from ops.environment import settings_of
from ops.stack import Stack
from tests.api import ORDER, Api, User, open_api
from tests.conftest import environment_on

NEW = {"name": "robot", "scopes": ["orders:read"]}


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    async with open_api(settings_of(environment_on(stack))) as api:
        yield api


async def made(user: User, **more: Any) -> dict[str, Any]:
    answer = await user.post("/v1/keys", {**NEW, **more})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def asked(api: Api, key: str, path: str = "/v1/orders") -> httpx.Response:
    return await api.client.get(path, headers={"X-API-Key": key})


async def test_a_key_acts_for_its_maker_within_its_scopes(api: Api):
    user = api.user("catalog:write")
    key = await made(user)
    for headers in ({"X-API-Key": key["key"]}, {"Authorization": f"Bearer {key['key']}"}):
        assert (await api.client.get("/v1/orders", headers=headers)).status_code == 200
        assert (await api.client.get("/v1/me", headers=headers)).json()["id"] == user.id
        refused = await api.client.post("/v1/orders", json=ORDER, headers=headers)
        assert (refused.status_code, refused.json()["facts"]) == (403, {"scope": "orders:write"})


async def test_a_key_is_shown_once(api: Api):
    user = api.user()
    key = await made(user, expires_at="2035-01-01T00:00:00+02:00", rate_limit=7)
    secret = key.pop("key")
    assert secret.startswith(key["prefix"])
    assert key["expires_at"] == "2034-12-31T22:00:00.000Z"
    one, listed = await user.get(f"/v1/keys/{key['id']}"), await user.get("/v1/keys")
    assert one.json() == key
    assert listed.json() == {"keys": [key], "next_cursor": None}
    assert secret not in one.text + listed.text
    assert (await asked(api, secret)).status_code == 200
    await api.services.accounts.drain()
    assert (await user.get(f"/v1/keys/{key['id']}")).json()["last_used_at"] is not None


async def test_keys_are_listed_by_pages_newest_first(api: Api):
    user = api.user()
    ids = [(await made(user))["id"] for _ in range(3)]
    page = (await user.get("/v1/keys?limit=2")).json()
    rest = (await user.get(f"/v1/keys?limit=2&cursor={page['next_cursor']}")).json()
    assert [each["id"] for each in page["keys"] + rest["keys"]] == ids[::-1]
    assert rest["next_cursor"] is None


async def test_a_key_past_its_limit_is_told_when_to_come_again(api: Api):
    key = await made(api.user(), rate_limit=2)
    answers = [await asked(api, key["key"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=2;w=60'}
    left = [answer.headers["ratelimit"] for answer in answers]
    assert [each.rpartition(";t=")[0] for each in left] == ['"key";r=1', '"key";r=0', '"key";r=0']
    assert problem(answers[2]) == (429, "too_many_requests")
    assert 55 <= int(answers[2].headers["retry-after"]) <= 60
    assert (await asked(api, (await made(api.user()))["key"])).status_code == 200


async def test_every_answer_to_a_key_tells_of_its_limit_and_none_to_a_token(api: Api):
    user = api.user()
    key = await made(user)
    for path in (f"/v1/orders/{new_id()}", "/v1/jobs?limit=0", "/v1/accounts"):
        answer = await asked(api, key["key"], path)
        assert answer.status_code >= 400
        assert answer.headers["ratelimit-policy"] == '"key";q=600;w=60'
    assert "ratelimit" not in (await user.get("/v1/orders")).headers


async def test_a_rotated_key_and_its_successor_both_work_for_the_overlap(api: Api):
    user = api.user()
    old = await made(user)
    path = f"/v1/keys/{old['id']}/rotate"
    answer = await user.post(path, {"overlap": "1h"})
    new = answer.json()
    assert answer.status_code == 201
    assert (new["name"], new["scopes"]) == (old["name"], old["scopes"])
    for key in (old, new):
        assert (await asked(api, key["key"])).status_code == 200
    assert (await user.get(f"/v1/keys/{old['id']}")).json()["replaced_by"] == new["id"]
    assert problem(await user.post(path, {})) == (409, "api_key_not_rotatable")
    assert (await user.post(f"/v1/keys/{new['id']}/rotate", {})).status_code == 201
    assert (await asked(api, new["key"])).status_code == 401


async def test_a_revoked_key_is_refused(api: Api):
    user = api.user()
    key = await made(user)
    assert (await asked(api, key["key"])).status_code == 200
    for _ in range(2):
        assert (await user.delete(f"/v1/keys/{key['id']}")).status_code == 204
    assert problem(await asked(api, key["key"])) == (401, "unauthenticated")
    assert problem(await user.post(f"/v1/keys/{key['id']}/rotate", {})) == (409, "api_key_not_rotatable")


async def test_a_key_cannot_do_what_needs_somebody_who_has_logged_in(api: Api, subtests: pytest.Subtests):
    key = await made(api.user())
    change = {"current_password": "x", "new_password": "y"}
    for method, path, body in [
        ("POST", "/v1/auth/logout", None),
        ("POST", "/v1/me/password", change),
        ("GET", "/v1/me/sessions", None),
        ("DELETE", "/v1/me/sessions", None),
        ("DELETE", f"/v1/me/sessions/{new_id()}", None),
        ("POST", "/v1/keys", NEW),
        ("GET", "/v1/keys", None),
        ("GET", f"/v1/keys/{key['id']}", None),
        ("POST", f"/v1/keys/{key['id']}/rotate", {}),
        ("DELETE", f"/v1/keys/{key['id']}", None),
    ]:
        with subtests.test(route=f"{method} {path}"):
            answer = await api.client.request(method, path, json=body, headers={"X-API-Key": key["key"]})
            assert problem(answer) == (403, "session_required")


async def test_somebody_elses_key_is_not_found(api: Api):
    key, stranger = await made(api.user()), api.user("ops:read", "ops:write")
    path = f"/v1/keys/{key['id']}"
    answers = [
        await stranger.get(path),
        await stranger.delete(path),
        await stranger.post(f"{path}/rotate", {}),
        await stranger.get("/v1/keys/nothing"),
    ]
    assert [problem(answer) for answer in answers] == [(404, "not_found")] * 4
    assert (await asked(api, key["key"])).status_code == 200


async def test_a_key_that_makes_no_sense_is_not_made(api: Api, subtests: pytest.Subtests):
    user = api.user()
    cases: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"scopes": ["ops:read"]}, (403, "forbidden")),
        ({"scopes": ["root"]}, (422, "invalid")),
        ({"scopes": []}, (422, "validation_error")),
        ({"scopes": "orders:read"}, (422, "validation_error")),
        ({"name": " "}, (422, "validation_error")),
        ({"name": "x" * 101}, (422, "validation_error")),
        ({"expires_at": "2020-01-01T00:00:00Z"}, (422, "invalid")),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, (422, "invalid")),
        ({"expires_at": "2035-01-01T00:00:00"}, (422, "validation_error")),
        ({"expires_at": 2_000_000_000}, (422, "validation_error")),
        ({"rate_limit": 0}, (422, "validation_error")),
        ({"rate_limit": 601}, (422, "invalid")),
        ({"rate_limit": "60"}, (422, "validation_error")),
        ({"key": "sk_mine"}, (422, "validation_error")),
    ]
    for more, expected in cases:
        with subtests.test(more=str(more)):
            assert problem(await user.post("/v1/keys", {**NEW, **more})) == expected
    key = await made(user)
    for body in ({"overlap": "1 hour"}, {"overlap": 60}, {"overlap": "-1s"}, {"expires_at": "soon"}):
        with subtests.test(body=str(body)):
            answer = await user.post(f"/v1/keys/{key['id']}/rotate", body)
            assert problem(answer) == (422, "validation_error")
    for body in ({"overlap": "31d"}, {"expires_at": "2020-01-01T00:00:00Z"}):
        with subtests.test(body=str(body)):
            assert problem(await user.post(f"/v1/keys/{key['id']}/rotate", body)) == (422, "invalid")
