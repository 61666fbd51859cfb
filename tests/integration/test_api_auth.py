"""Who may call, and as whom."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from domain.accounts.rules import Principal
from domain.accounts.tokens import KeyRing, Tokens, new_pem
from domain.settings import Settings
from domain.values import utcnow
from tests.api import ORDER, Api, open_api

GOOD = {"email": "Ada@Example.com", "password": "correct horse battery"}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


async def test_a_customer_registers_logs_in_and_sees_the_account(api: Api):
    created = await api.client.post("/v1/auth/register", json=GOOD)
    assert created.status_code == 201
    assert created.json()["email"] == "ada@example.com"
    assert created.json()["scopes"] == ["orders:read", "orders:write"]
    assert "password" not in created.text
    token = (await api.client.post("/v1/auth/login", json=GOOD)).json()
    assert token["token_type"] == "Bearer"
    assert 890 <= token["expires_in"] <= 900
    me = await api.client.get("/v1/me", headers={"Authorization": f"Bearer {token['access_token']}"})
    assert me.status_code == 200
    assert me.json() == created.json()


async def test_the_jwk_set_verifies_tokens_and_may_be_cached(api: Api):
    answer = await api.client.get("/.well-known/jwks.json")
    key = jwt.PyJWKSet.from_dict(answer.json()).keys[0]
    claims = jwt.decode(api.user().token, key, algorithms=["EdDSA"], issuer="stockyard")
    assert claims["role"] == "customer"
    assert answer.headers["cache-control"] == "public, max-age=300"


async def test_a_registration_that_is_not_acceptable_is_refused(api: Api, subtests: pytest.Subtests):
    cases = [
        (GOOD | {"password": "short"}, 422, "invalid"),
        (GOOD | {"password": "x" * 2000}, 422, "validation_error"),
        (GOOD | {"email": "nobody"}, 422, "invalid"),
        (GOOD | {"role": "ops"}, 422, "validation_error"),
        ({}, 422, "validation_error"),
        ([], 422, "validation_error"),
    ]
    for body, status, code in cases:
        with subtests.test(body=str(body)[:80]):
            answer = await api.client.post("/v1/auth/register", json=body)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert "x" * 300 not in answer.text


async def test_an_address_is_registered_once(api: Api):
    assert (await api.client.post("/v1/auth/register", json=GOOD)).status_code == 201
    again = await api.client.post("/v1/auth/register", json=GOOD | {"email": "ada@example.COM"})
    assert (again.status_code, again.json()["code"]) == (409, "email_taken")


async def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(api: Api):
    await api.client.post("/v1/auth/register", json=GOOD)
    wrong = await api.client.post("/v1/auth/login", json=GOOD | {"password": "another password"})
    unknown = await api.client.post("/v1/auth/login", json=GOOD | {"email": "bob@example.com"})
    assert wrong.status_code == unknown.status_code == 401
    assert {**wrong.json(), "request_id": None} == {**unknown.json(), "request_id": None}


def _segment(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _forgeries(api: Api) -> dict[str, str]:
    principal = Principal("somebody", "ops", frozenset({"orders:read", "ops:read"}))
    tokens = api.services.accounts._tokens
    ring = tokens.ring
    good = tokens.issue(principal).token
    claims = jwt.decode(good, options={"verify_signature": False})
    kid = ring._kid
    raw = ring._public[kid].public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    past = Tokens(ring, api.services.settings.auth, lambda: utcnow() - timedelta(hours=1))
    stranger = Tokens(KeyRing.from_pem(new_pem()), api.services.settings.auth)
    head, body, signature = good.split(".")
    return {
        "expired": past.issue(principal).token,
        "alg none": f"{_segment({'alg': 'none', 'kid': kid})}.{body}.",
        "alg none, signed": f"{_segment({'alg': 'none', 'kid': kid})}.{body}.{signature}",
        "HS256 with the public key": jwt.encode(claims, raw, algorithm="HS256", headers={"kid": kid}),
        "another key": stranger.issue(principal).token,
        "other claims": f"{head}.{_segment({**claims, 'sub': 'another'})}.{signature}",
        "cut": good[:-10],
        "nothing like a token": "hello",
        "long": "x" * 5000,
        "another issuer": ring.sign({**claims, "iss": "elsewhere"}),
        "no scope": ring.sign({name: value for name, value in claims.items() if name != "scope"}),
    }


async def test_tokens_that_are_forged_or_expired_open_nothing(api: Api):
    for name, token in _forgeries(api).items():
        answer = await api.client.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), name
        assert answer.headers["www-authenticate"] == 'Bearer realm="stockyard", error="invalid_token"'


async def test_other_schemes_open_nothing(api: Api, subtests: pytest.Subtests):
    cases = ["", "Bearer", "Bearer ", "Basic YTpi", "Token x"]
    for header in cases:
        with subtests.test(header=str(header)[:80]):
            headers = {"Authorization": header} if header else {}
            answer = await api.client.post("/v1/orders", json=ORDER, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith('Bearer realm="stockyard"')


async def test_a_missing_scope_is_named(api: Api):
    user = api.user(scopes=frozenset({"orders:read"}))
    answer = await user.post("/v1/orders", ORDER)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["facts"] == {"scope": "orders:write"}
