"""Who may call, and as whom: registration, log-in, tokens, sessions, passwords."""

import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from fastapi.routing import APIRoute

from api.deps import Authenticated, Requires
from domain.accounts.keyring import KeyRing, new_pem
from domain.accounts.rules import SCOPES
from domain.accounts.tokens import Tokens
from domain.settings import Api as ApiSettings
from domain.settings import Auth, Settings
from domain.values import new_id, utcnow
from tests.api import ORDER, Api, open_api

PASSWORD = "correct horse battery"
COOKIE = "__Secure-stockyard-refresh"


@pytest.fixture(scope="module")
async def api(stack) -> AsyncIterator[Api]:
    from ops.environment import settings_of  # noqa: PLC0415
    from tests.conftest import environment_on  # noqa: PLC0415

    settings = settings_of(environment_on(stack))
    async with open_api(settings) as api:
        yield api


@pytest.fixture
def good() -> dict[str, str]:
    return {"email": f"Ada-{new_id()}@Example.com", "password": PASSWORD}


async def log_in(api: Api, good: dict[str, str], **more: str) -> httpx.Response:
    answer = await api.client.post("/v1/auth/login", json=good | more)
    assert answer.status_code == 200, answer.text
    return answer


async def registered(api: Api, good: dict[str, str], **more: str) -> dict[str, Any]:
    assert (await api.client.post("/v1/auth/register", json=good)).status_code == 201
    tokens: dict[str, Any] = (await log_in(api, good, **more)).json()
    return tokens


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_one_network_registers_only_so_many_accounts_an_hour(settings: Settings):
    auth = settings.auth.model_copy(update={"new_accounts_per_hour": 2})
    few = settings.model_copy(update={"auth": auth, "api": ApiSettings(proxies=1)})
    async with open_api(few) as api:

        async def register(address: str) -> httpx.Response:
            body = {"email": f"{new_id()}@example.com", "password": PASSWORD}
            return await api.client.post("/v1/auth/register", json=body, headers={"X-Forwarded-For": address})

        assert [(await register(f"2001:db8::{n}")).status_code for n in range(3)] == [201, 201, 429]
        refused = await register("2001:db8::99")
        assert refused.json()["code"] == "too_many_requests"
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert (await register("2001:db8:0:1::1")).status_code == 201


async def test_a_customer_registers_logs_in_and_sees_the_account(api: Api, good: dict[str, str]):
    created = await api.client.post("/v1/auth/register", json=good)
    assert created.status_code == 201
    assert created.json()["email"] == good["email"].lower()
    assert created.json()["scopes"] == ["orders:read", "orders:write"]
    assert "password" not in created.text
    tokens = (await log_in(api, good)).json()
    assert tokens["token_type"] == "Bearer"
    assert 890 <= tokens["expires_in"] <= 900
    me = await api.client.get("/v1/me", headers=bearer(tokens))
    assert me.status_code == 200
    assert me.json() == created.json()


async def test_the_jwk_set_verifies_tokens_and_may_be_cached(api: Api):
    answer = await api.client.get("/.well-known/jwks.json")
    key = jwt.PyJWKSet.from_dict(answer.json()).keys[0]
    claims = jwt.decode(api.user().token, key, algorithms=["EdDSA"], issuer="stockyard")
    assert claims["role"] == "customer"
    assert answer.headers["cache-control"] == "public, max-age=300"


async def test_a_registration_that_is_not_acceptable_is_refused(
    api: Api, good: dict[str, str], subtests: pytest.Subtests
):
    cases: list[tuple[Any, int, str]] = [
        (good | {"password": "short"}, 422, "invalid"),
        (good | {"password": "password1234"}, 422, "invalid"),
        (good | {"password": "x" * 2000}, 422, "validation_error"),
        (good | {"password": "null\x00character horse"}, 422, "validation_error"),
        (good | {"email": "nobody"}, 422, "invalid"),
        (good | {"role": "ops"}, 422, "validation_error"),
        (good | {"scopes": ["ops:write"]}, 422, "validation_error"),
        ({}, 422, "validation_error"),
        ([], 422, "validation_error"),
    ]
    for body, status, code in cases:
        with subtests.test(body=str(body)[:80]):
            answer = await api.client.post("/v1/auth/register", json=body)
            assert problem(answer) == (status, code)
            assert "x" * 300 not in answer.text


async def test_an_address_is_registered_once(api: Api, good: dict[str, str]):
    assert (await api.client.post("/v1/auth/register", json=good)).status_code == 201
    again = await api.client.post("/v1/auth/register", json=good | {"email": good["email"].upper()})
    assert problem(again) == (409, "email_taken")


async def test_a_log_in_that_makes_no_sense_is_refused(
    api: Api, good: dict[str, str], subtests: pytest.Subtests
):
    await registered(api, good)
    for more in (
        {"refresh": "header"},
        {"device": ""},
        {"device": "a\nb"},
        {"device": "x" * 101},
        {"x": "y"},
    ):
        with subtests.test(more=str(more)):
            answer = await api.client.post("/v1/auth/login", json={**good, **more})
            assert problem(answer) == (422, "validation_error")


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(api: Api, good: dict[str, str]):
    await registered(api, good)
    wrong = await api.client.post("/v1/auth/login", json=good | {"password": "another password"})
    unknown = await api.client.post("/v1/auth/login", json=good | {"email": f"no-{good['email']}"})
    assert wrong.status_code == unknown.status_code == 401
    assert {**wrong.json(), "request_id": None} == {**unknown.json(), "request_id": None}


async def test_who_fails_too_often_is_told_how_long_to_wait(
    settings: Settings, good: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("domain.accounts.throttle.FIRST", 60.0)
    quick = settings.model_copy(update={"auth": Auth(login_attempts=2)})
    async with open_api(quick) as api:
        await registered(api, good)
        wrong = good | {"password": "another password"}
        statuses = [(await api.client.post("/v1/auth/login", json=wrong)).status_code for _ in range(7)]
        # The account's tries, then those of the address that it has a session of.
        assert statuses == [401] * 6 + [429]
        answer = await api.client.post("/v1/auth/login", json=good)
        assert problem(answer) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == str(answer.json()["facts"]["retry_after"])
        assert 30 < int(answer.headers["retry-after"]) <= 60


async def test_behind_a_proxy_the_client_is_who_the_proxy_says(settings: Settings, good: dict[str, str]):
    behind = settings.model_copy(update={"auth": Auth(address_attempts=1), "api": ApiSettings(proxies=1)})
    async with open_api(behind) as api:

        async def status(told: str, email: str) -> int:
            headers, body = {"X-Forwarded-For": told}, {"email": email, "password": "another password"}
            return (await api.client.post("/v1/auth/login", json=body, headers=headers)).status_code

        mine, theirs = f"198.51.100.1-{new_id()}", f"198.51.100.2-{new_id()}"
        assert [await status(mine, f"a{n}@example.com") for n in range(3)] == [401, 401, 429]
        assert await status(f"{theirs}, {mine}", "b@example.com") == 429
        assert await status(f"{mine}, {theirs}", "c@example.com") == 401


# -- refresh -----------------------------------------------------------------------------------------


async def test_a_refresh_token_in_the_body_is_replaced_there(api: Api, good: dict[str, str]):
    before = await registered(api, good)
    answer = await api.client.post("/v1/auth/refresh", json={"refresh_token": before["refresh_token"]})
    after = answer.json()
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert after["refresh_token"] != before["refresh_token"]
    assert after["session_id"] == before["session_id"]
    assert (await api.client.get("/v1/me", headers=bearer(after))).status_code == 200


async def test_a_refresh_token_in_the_cookie_is_replaced_there(api: Api, good: dict[str, str]):
    await registered(api, good)
    answer = await log_in(api, good, refresh="cookie")
    assert answer.json()["refresh_token"] is None
    said = answer.headers["set-cookie"]
    assert re.fullmatch(
        rf"{COOKIE}=rt_[\w.-]+; HttpOnly; Max-Age=\d+; Path=/v1/auth; SameSite=strict; Secure", said
    )
    assert 2_591_990 <= int(said.split("Max-Age=")[1].split(";")[0]) <= 2_592_000
    cookie = said.split(";")[0]
    refreshed = await api.client.post("/v1/auth/refresh", json={}, headers={"Cookie": cookie})
    assert refreshed.status_code == 200
    assert refreshed.json()["refresh_token"] is None
    assert refreshed.headers["set-cookie"].split(";")[0] != cookie
    for body in ({"refresh_token": ""}, {"refresh_token": "rt_x"}):
        coaxed = await api.client.post("/v1/auth/refresh", json=body, headers={"Cookie": cookie})
        assert coaxed.status_code in {401, 422}
        assert "rt_" not in coaxed.text
    out = await api.client.post("/v1/auth/logout", headers=bearer(refreshed.json()))
    assert out.status_code == 204
    assert f'{COOKIE}="";' in out.headers["set-cookie"]
    assert "Max-Age=0" in out.headers["set-cookie"]


async def test_a_replaced_token_from_elsewhere_ends_the_session_and_says_so(api: Api, good: dict[str, str]):
    tokens = await registered(api, good)
    shown = {"refresh_token": tokens["refresh_token"]}
    after = (await api.client.post("/v1/auth/refresh", json=shown)).json()
    theft = await api.client.post("/v1/auth/refresh", json=shown, headers={"User-Agent": "thief/1.0"})
    assert problem(theft) == (401, "refresh_token_reused")
    owner = await api.client.post("/v1/auth/refresh", json={"refresh_token": after["refresh_token"]})
    assert problem(owner) == (401, "refresh_token_reused")
    assert problem(await api.client.get("/v1/me", headers=bearer(after))) == (401, "unauthenticated")


async def test_a_refresh_without_a_good_token_is_refused(api: Api, subtests: pytest.Subtests):
    made_up = f"rt_{new_id()}.{'a' * 22}.{'b' * 43}"
    for body, expected in [
        ({}, (401, "unauthenticated")),
        ({"refresh_token": ""}, (422, "validation_error")),
        ({"refresh_token": "hello"}, (401, "unauthenticated")),
        ({"refresh_token": made_up}, (401, "unauthenticated")),
        ({"refresh_token": api.user().token[:150]}, (401, "unauthenticated")),
        ({"refresh_token": "x" * 300}, (422, "validation_error")),
        ({"refresh_token": 7}, (422, "validation_error")),
        ({"token": "x"}, (422, "validation_error")),
    ]:
        with subtests.test(body=str(body)[:60]):
            assert problem(await api.client.post("/v1/auth/refresh", json=body)) == expected


# -- sessions and password ---------------------------------------------------------------------------


async def test_a_log_out_ends_both_tokens(api: Api, good: dict[str, str]):
    tokens = await registered(api, good)
    assert (await api.client.post("/v1/auth/logout", headers=bearer(tokens))).status_code == 204
    again = await api.client.post("/v1/auth/logout", headers=bearer(tokens))
    assert problem(again) == (401, "unauthenticated")
    assert again.json()["facts"] == {"reason": "session_ended"}
    shown = {"refresh_token": tokens["refresh_token"]}
    assert problem(await api.client.post("/v1/auth/refresh", json=shown)) == (401, "unauthenticated")


async def test_sessions_are_listed_by_pages_and_ended_one_by_one(api: Api, good: dict[str, str]):
    first = await registered(api, good, device="phone")
    second = (await log_in(api, good, device="laptop")).json()
    headers = bearer(second)
    listed = (await api.client.get("/v1/me/sessions", headers=headers)).json()
    assert [(each["device"], each["current"]) for each in listed["sessions"]] == [
        ("laptop", True),
        ("phone", False),
    ]
    assert listed["sessions"][0]["address"] == "127.0.0.1"
    assert listed["sessions"][0]["user_agent"].startswith("python-httpx")
    page = (await api.client.get("/v1/me/sessions?limit=1", headers=headers)).json()
    following = {"limit": 1, "cursor": page["next_cursor"]}
    rest = (await api.client.get("/v1/me/sessions", params=following, headers=headers)).json()
    assert [each["device"] for each in page["sessions"] + rest["sessions"]] == ["laptop", "phone"]
    assert rest["next_cursor"] is None
    path = f"/v1/me/sessions/{first['session_id']}"
    for status in (204, 404):
        assert (await api.client.delete(path, headers=headers)).status_code == status
    assert (await api.client.get("/v1/me", headers=bearer(first))).status_code == 401
    assert (await api.client.get("/v1/me", headers=headers)).status_code == 200


async def test_somebody_elses_session_is_not_found(api: Api, good: dict[str, str]):
    tokens = await registered(api, good)
    stranger = api.user(*SCOPES)
    for session_id in (tokens["session_id"], "nothing"):
        assert problem(await stranger.delete(f"/v1/me/sessions/{session_id}")) == (404, "not_found")
    assert (await api.client.get("/v1/me", headers=bearer(tokens))).status_code == 200


async def test_all_other_sessions_end_together(api: Api, good: dict[str, str]):
    await registered(api, good)
    kept = (await log_in(api, good)).json()
    for ended in (1, 0):
        answer = await api.client.delete("/v1/me/sessions", headers=bearer(kept))
        assert (answer.status_code, answer.json()) == (200, {"ended": ended})


async def test_a_changed_password_logs_every_other_device_out(api: Api, good: dict[str, str]):
    other = await registered(api, good)
    mine = (await log_in(api, good)).json()
    change = {"current_password": PASSWORD, "new_password": "seventeen green bicycles"}
    answer = await api.client.post("/v1/me/password", json=change, headers=bearer(mine))
    assert answer.status_code == 204
    assert (await api.client.get("/v1/me", headers=bearer(mine))).status_code == 200
    assert (await api.client.get("/v1/me", headers=bearer(other))).status_code == 401
    assert (await api.client.post("/v1/auth/login", json=good)).status_code == 401
    await log_in(api, good, password="seventeen green bicycles")


async def test_a_password_is_not_changed_by_a_wrong_request(
    api: Api, good: dict[str, str], subtests: pytest.Subtests
):
    headers = bearer(await registered(api, good))
    new = "seventeen green bicycles"
    for body, expected in [
        ({"current_password": "wrong", "new_password": new}, (422, "invalid")),
        ({"current_password": PASSWORD, "new_password": "short"}, (422, "invalid")),
        ({"current_password": PASSWORD, "new_password": "password1234"}, (422, "invalid")),
        ({"new_password": new}, (422, "validation_error")),
        ({"current_password": PASSWORD, "new_password": new, "email": "x"}, (422, "validation_error")),
    ]:
        with subtests.test(body=str(body)):
            answer = await api.client.post("/v1/me/password", json=body, headers=headers)
            assert problem(answer) == expected
    await log_in(api, good)


# -- credentials that open nothing -------------------------------------------------------------------


def segment(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def forgeries(api: Api) -> dict[str, str]:
    tokens = api.services.accounts._tokens
    ring, settings = tokens.ring, api.services.settings.auth
    good = api.user("ops:read").token
    claims = jwt.decode(good, options={"verify_signature": False})
    facts = claims["sub"], claims["sid"], claims["role"], frozenset({"orders:read"})
    kid = ring._kid
    raw = ring._public[kid].public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    past = Tokens(ring, settings, lambda: utcnow() - timedelta(hours=1))
    stranger = Tokens(KeyRing.from_pem(new_pem()), settings)
    head, body, signature = good.split(".")
    return {
        "expired": past.issue(*facts).token,
        "alg none": f"{segment({'alg': 'none', 'kid': kid})}.{body}.",
        "alg none, signed": f"{segment({'alg': 'none', 'kid': kid})}.{body}.{signature}",
        "HS256 with the public key": jwt.encode(claims, raw, algorithm="HS256", headers={"kid": kid}),
        "unknown kid": f"{segment({'alg': 'EdDSA', 'kid': 'unknown'})}.{body}.{signature}",
        "another key": stranger.issue(*facts).token,
        "other claims": f"{head}.{segment({**claims, 'sub': 'another'})}.{signature}",
        "cut": good[:-10],
        "nothing like a token": "hello",
        "long": "x" * 5000,
        "another issuer": ring.sign({**claims, "iss": "elsewhere"}),
        "no scope": ring.sign({name: value for name, value in claims.items() if name != "scope"}),
        "no session": ring.sign({name: value for name, value in claims.items() if name != "sid"}),
        "a session that is not there": tokens.issue(claims["sub"], new_id(), "ops", SCOPES).token,
        "somebody else's session": tokens.issue("another", claims["sid"], "ops", SCOPES).token,
        "no such key": "sk_" + "a" * 43,
    }


async def test_tokens_that_are_forged_or_expired_open_nothing(api: Api):
    for name, token in forgeries(api).items():
        answer = await api.client.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        assert problem(answer) == (401, "unauthenticated"), name
        assert answer.headers["www-authenticate"] == 'Bearer realm="stockyard", error="invalid_token"'


async def test_other_schemes_open_nothing(api: Api, subtests: pytest.Subtests):
    token = api.user().token
    cases: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", f"Token {token}")],
        [("X-API-Key", token)],
        [("Authorization", f"Bearer {token}"), ("X-API-Key", "sk_x")],
        [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
        [("Cookie", f"{COOKIE}=rt_x")],
    ]
    for headers in cases:
        with subtests.test(headers=str(headers)[:80]):
            answer = await api.client.post("/v1/orders", json=ORDER, headers=headers)
            assert problem(answer) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith('Bearer realm="stockyard"')


async def test_a_missing_scope_is_named(api: Api):
    user = api.user(scopes=frozenset({"orders:read"}))
    answer = await user.post("/v1/orders", ORDER)
    assert problem(answer) == (403, "forbidden")
    assert answer.json()["facts"] == {"scope": "orders:write"}


async def test_every_route_asks_for_a_scope_or_says_that_it_does_not(api: Api, subtests: pytest.Subtests):
    """Walks the app: what is neither public nor guarded by `Requires` fails here."""
    routes = [route for route in api.app.routes if isinstance(route, APIRoute)]
    assert len(routes) > 30
    for route in routes:
        method = next(iter(route.methods or ()))
        with subtests.test(route=f"{method} {route.path}"):
            guards = [each.call for each in route.dependant.dependencies if isinstance(each.call, Requires)]
            if (route.openapi_extra or {}).get("security") == []:
                assert not guards
                continue
            (guard,) = guards
            assert set(guard.scopes) <= SCOPES
            assert bool(guard.scopes) != isinstance(guard, Authenticated)
            path = re.sub(r"\{\w+\}", new_id(), route.path)
            assert problem(await api.client.request(method, path)) == (401, "unauthenticated")
            if guard.scopes:
                nobody = api.user(scopes=frozenset())
                answer = await api.client.request(method, path, headers=nobody.headers())
                assert problem(answer) == (403, "forbidden")


def test_a_route_that_asks_for_nothing_has_to_say_so():
    with pytest.raises(ValueError, match="Authenticated"):
        Requires()
