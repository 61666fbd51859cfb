"""Accounts on a real store: registering, logging in, tokens."""

import asyncio
import base64
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from beanie import init_beanie
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from passlib.hash import bcrypt
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from domain.accounts import tokens as tokens_module
from domain.accounts.models import Account, SigningKey
from domain.accounts.rules import CUSTOMER_SCOPES, SCOPES, Principal
from domain.accounts.service import Accounts
from domain.accounts.tokens import KeyRing, Tokens, new_pem
from domain.errors import EmailTaken, Invalid, NotFound, Unauthenticated
from domain.settings import Auth
from domain.values import utcnow
from ops.stack import Stack

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
SETTINGS = Auth(signing_key=SecretStr(new_pem()))
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOMEBODY = Principal("018f", "customer", frozenset({"orders:read", "orders:write"}))


class MovableClock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack("rd", tmp_path_factory.mktemp("stack"), environ=own)
    stack.mongo.start()
    yield stack.mongo.url
    stack.wipe()


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[None]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    await client.drop_database("accounts")
    await init_beanie(database=client["accounts"], document_models=[Account, SigningKey])
    yield
    await client.close()


@pytest.fixture
async def accounts(store: None) -> AsyncIterator[Accounts]:
    service = await Accounts.open(SETTINGS)
    yield service
    service.close()


async def test_who_registers_is_a_customer(accounts: Accounts):
    account = await accounts.register(" Ada@Example.com", PASSWORD)
    assert (account.email, account.role) == (EMAIL, "customer")
    assert set(account.scopes) == CUSTOMER_SCOPES
    kept = await accounts.get(account.id)
    assert kept == account
    assert kept.created_at.tzinfo is not None


async def test_the_id_is_the_stores_own_id_and_the_password_is_nowhere(accounts: Accounts):
    account = await accounts.register(EMAIL, PASSWORD)
    [stored] = await Account.get_pymongo_collection().find().to_list()
    assert stored["_id"] == account.id
    assert "id" not in stored
    assert stored["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in repr(stored)
    assert account.password_hash not in repr(account)


async def test_an_address_registers_once_however_it_is_written(accounts: Accounts):
    written = [EMAIL, EMAIL.upper(), f" {EMAIL}"] * 3
    outcomes = await asyncio.gather(
        *(accounts.register(address, PASSWORD) for address in written), return_exceptions=True
    )
    assert sum(isinstance(outcome, Account) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, EmailTaken) for outcome in outcomes) == 8


@pytest.mark.parametrize(("email", "password"), [("ada", PASSWORD), (EMAIL, "short"), (EMAIL, "x" * 300)])
async def test_what_cannot_be_accepted_is_not_stored(accounts: Accounts, email: str, password: str):
    with pytest.raises(Invalid):
        await accounts.register(email, password)
    assert await Account.count() == 0


async def test_a_log_in_gives_a_token_that_says_who_came(accounts: Accounts):
    account = await accounts.register(EMAIL, PASSWORD)
    answer = await accounts.log_in("ADA@example.com ", PASSWORD)
    assert answer.token_type == "Bearer"
    assert timedelta(minutes=14) < answer.expires_at - utcnow() <= timedelta(minutes=15)
    assert accounts.authenticate(answer.token) == Principal(account.id, "customer", CUSTOMER_SCOPES)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong password"),
        (EMAIL, ""),
        (EMAIL, PASSWORD + " "),
        (EMAIL, PASSWORD.upper()),
        (EMAIL, "\ud800 half a character"),
        (EMAIL, "x" * 1_000_000),
        ("eve@example.com", PASSWORD),
        ("eve@example.com", "nobody's password"),
        ("no address", PASSWORD),
    ],
)
async def test_any_other_log_in_is_refused_in_the_same_words(accounts: Accounts, email: str, password: str):
    await accounts.register(EMAIL, PASSWORD)
    with pytest.raises(Unauthenticated) as refused:
        await accounts.log_in(email, password)
    assert refused.value.detail == {}


async def test_the_time_of_a_refusal_does_not_tell_whether_the_account_exists(accounts: Accounts):
    await accounts.register(EMAIL, PASSWORD)

    async def refusal(email: str) -> float:
        began = time.perf_counter()
        with pytest.raises(Unauthenticated):
            await accounts.log_in(email, "wrong password")
        return time.perf_counter() - began

    pairs = [(await refusal(EMAIL), await refusal("eve@example.com")) for _ in range(9)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.5 < known / unknown < 2


async def test_an_old_bcrypt_hash_works_and_is_replaced(accounts: Accounts):
    account = await accounts.register(EMAIL, PASSWORD)
    await account.set({"password_hash": bcrypt.using(rounds=4).hash(PASSWORD)})
    with pytest.raises(Unauthenticated):
        await accounts.log_in(EMAIL, "wrong password")
    await accounts.log_in(EMAIL, PASSWORD)
    assert (await accounts.get(account.id)).password_hash.startswith("$argon2id$")
    await accounts.log_in(EMAIL, PASSWORD)


@pytest.mark.parametrize("kept", ["", "plain text", "$argon2id$broken", "$2b$04$short"])
async def test_a_stored_hash_that_is_none_lets_nobody_in(accounts: Accounts, kept: str):
    account = await accounts.register(EMAIL, PASSWORD)
    await account.set({"password_hash": kept})
    for password in (kept, PASSWORD, "nobody's password"):
        with pytest.raises(Unauthenticated):
            await accounts.log_in(EMAIL, password)


async def test_hashing_does_not_hold_the_event_loop_up(accounts: Accounts):
    await accounts.register(EMAIL, PASSWORD)
    work = asyncio.gather(*(accounts.log_in(EMAIL, PASSWORD) for _ in range(8)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    await work
    assert turns > 50


async def test_the_command_line_makes_ops_accounts(accounts: Accounts):
    await accounts.create_ops(EMAIL, PASSWORD)
    principal = accounts.authenticate((await accounts.log_in(EMAIL, PASSWORD)).token)
    assert (principal.role, principal.scopes) == ("ops", SCOPES)
    with pytest.raises(EmailTaken):
        await accounts.create_ops(EMAIL, PASSWORD)


async def test_a_grant_adds_scopes_once_from_the_next_log_in_on(accounts: Accounts):
    account = await accounts.register(EMAIL, PASSWORD)
    for _ in range(2):
        granted = await accounts.grant(account.id, ["orders:price"])
        assert sorted(granted.scopes) == ["orders:price", "orders:read", "orders:write"]
    principal = accounts.authenticate((await accounts.log_in(EMAIL, PASSWORD)).token)
    assert principal.may("orders:price")


async def test_a_grant_needs_known_scopes_and_an_account(accounts: Accounts):
    account = await accounts.register(EMAIL, PASSWORD)
    with pytest.raises(Invalid):
        await accounts.grant(account.id, ["orders:price", "root"])
    assert set((await accounts.get(account.id)).scopes) == CUSTOMER_SCOPES
    with pytest.raises(NotFound):
        await accounts.grant("nobody", ["orders:price"])
    with pytest.raises(NotFound):
        await accounts.get("nobody")


async def test_racing_processes_without_a_set_key_share_one(store: None):
    services = await asyncio.gather(*(Accounts.open(Auth(signing_key=None)) for _ in range(8)))
    assert await SigningKey.count() == 1
    assert len({json.dumps(service.jwks()) for service in services}) == 1
    await services[0].register(EMAIL, PASSWORD)
    token = (await services[0].log_in(EMAIL, PASSWORD)).token
    assert services[7].authenticate(token).role == "customer"
    for service in services:
        service.close()


# -- tokens: no store from here on ---------------------------------------------------------------------


def issued_by(pem: str, *, clock: MovableClock | None = None) -> Tokens:
    return Tokens(KeyRing.from_pem(pem), Auth(), clock or MovableClock(NOON))


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_a_token_ends_at_its_time():
    clock = MovableClock(NOON)
    tokens = issued_by(new_pem(), clock=clock)
    answer = tokens.issue(SOMEBODY)
    assert answer.expires_at == NOON + timedelta(minutes=15)
    clock.now = answer.expires_at - timedelta(milliseconds=1)
    assert tokens.authenticate(answer.token) == SOMEBODY
    clock.now = answer.expires_at
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            tokens.authenticate(answer.token)


def test_a_token_of_another_key_is_refused():
    with pytest.raises(Unauthenticated):
        issued_by(new_pem()).authenticate(issued_by(new_pem()).issue(SOMEBODY).token)


def test_a_token_of_another_issuer_is_refused():
    ring = KeyRing.from_pem(new_pem())
    theirs = Tokens(ring, Auth(issuer="elsewhere"), MovableClock(NOON)).issue(SOMEBODY).token
    with pytest.raises(Unauthenticated):
        Tokens(ring, Auth(), MovableClock(NOON)).authenticate(theirs)


@pytest.mark.parametrize("claim", tokens_module.CLAIMS)
def test_a_token_without_one_of_the_claims_is_refused(claim: str):
    pem = new_pem()
    tokens = issued_by(pem)
    claims = claims_of(tokens.issue(SOMEBODY).token)
    del claims[claim]
    with pytest.raises(Unauthenticated):
        tokens.authenticate(KeyRing.from_pem(pem).sign(claims))


@pytest.mark.parametrize(
    "change",
    [{"role": "god"}, {"scope": ["ops:write"]}, {"exp": "tomorrow"}, {"sub": 7}, {"iss": ["stockyard"]}],
)
def test_a_token_with_a_claim_of_another_kind_is_refused(change: dict[str, Any]):
    pem = new_pem()
    tokens = issued_by(pem)
    claims = claims_of(tokens.issue(SOMEBODY).token) | change
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    # By PyJWT's parts: its own encode would refuse some of these.
    body = json.dumps(claims).encode()
    kid = tokens.ring.jwks()["keys"][0]["kid"]
    with pytest.raises(Unauthenticated):
        tokens.authenticate(jwt.api_jws.encode(body, key, algorithm="EdDSA", headers={"kid": kid}))


def part(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def test_forged_headers_are_refused():
    tokens = issued_by(new_pem())
    token = tokens.issue(SOMEBODY).token
    header, body, signature = token.split(".")
    [jwk] = tokens.ring.jwks()["keys"]
    claims = claims_of(token) | {"scope": "ops:write"}
    public = jwt.utils.base64url_decode(jwk["x"])
    with_secret = jwt.encode(claims, public, algorithm="HS256", headers={"kid": jwk["kid"]})
    forged = [
        f"{part({'alg': 'none', 'kid': jwk['kid']})}.{part(claims)}.",
        f"{part({'alg': 'none', 'kid': jwk['kid']})}.{part(claims)}.{signature}",
        f"{header}.{part(claims)}.{signature}",
        f"{header}.{body}.",
        f"{header}.{body}",
        f"{part({'alg': 'EdDSA'})}.{body}.{signature}",
        f"{part({'alg': 'EdDSA', 'kid': ['a']})}.{body}.{signature}",
        f"{part({'alg': 'EdDSA', 'kid': 'unknown'})}.{body}.{signature}",
        f"{part('[' * 2500)}.{body}.{signature}",
        f"{part('7')}.{body}.{signature}",
        with_secret,
        token + "A",
        token + "." + signature,
        token[:-6] + "AAAAAA",
        "",
        "...",
        "Bearer " + token,
        "\ud800",
        "ü" * 100,
        "a" * 1_000_000,
    ]
    for text in forged:
        with pytest.raises(Unauthenticated):
            tokens.authenticate(text)
    assert tokens.authenticate(token) == SOMEBODY


def test_keys_rotate_without_logging_anybody_out():
    old, new = new_pem(), new_pem()
    before = issued_by(old)
    token = before.issue(SOMEBODY).token
    during = issued_by(new + old)
    assert during.authenticate(token) == SOMEBODY
    assert before.ring.jwks()["keys"][0] in during.ring.jwks()["keys"]
    after = issued_by(new)
    assert after.authenticate(during.issue(SOMEBODY).token) == SOMEBODY
    with pytest.raises(Unauthenticated):
        after.authenticate(token)


def test_an_old_key_may_be_given_by_its_public_half():
    old, new = new_pem(), new_pem()
    token = issued_by(old).issue(SOMEBODY).token
    key = serialization.load_pem_private_key(old.encode(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    half = key.public_bytes(serialization.Encoding.PEM, form).decode()
    assert issued_by(new + half).authenticate(token) == SOMEBODY
    with pytest.raises(ValueError, match="private key"):
        KeyRing.from_pem(half)


@pytest.mark.parametrize(
    "text", ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_a_signing_key_that_is_none_is_refused_at_start(text: str):
    with pytest.raises(ValueError):
        KeyRing.from_pem(text)


def test_others_can_check_our_tokens_by_the_jwk_set():
    tokens = issued_by(new_pem(), clock=MovableClock(utcnow()))
    token = tokens.issue(SOMEBODY).token
    keys = jwt.PyJWKSet.from_dict(tokens.ring.jwks())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key.key, algorithms=["EdDSA"], issuer="stockyard")
    assert claims["scope"] == "orders:read orders:write"
    assert all("d" not in jwk for jwk in tokens.ring.jwks()["keys"])


def test_a_kid_is_the_thumbprint_of_the_published_example():
    """RFC 8037, appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    key = OKPAlgorithm.from_jwk(jwk)
    assert isinstance(key, Ed25519PublicKey)
    assert tokens_module.thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_remembered_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens_module, "REMEMBERED", 3)
    tokens = issued_by(new_pem())
    for n in range(10):
        principal = Principal(str(n), "customer", frozenset())
        assert tokens.authenticate(tokens.issue(principal).token) == principal
    assert len(tokens._verified) == 3
