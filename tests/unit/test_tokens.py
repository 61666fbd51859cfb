"""Access tokens and the keys that sign them. No I/O."""

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

from domain.accounts.keyring import CLAIMS, KeyRing, new_pem, thumbprint
from domain.accounts.tokens import AccessToken, Tokens
from domain.errors import Unauthenticated
from domain.settings import Auth

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def issuer(pem: str, *, settings: Auth | None = None) -> Tokens:
    return Tokens(KeyRing.from_pem(pem), settings or Auth(), lambda: NOON)


def issue(tokens: Tokens) -> AccessToken:
    return tokens.issue("account", "session", "customer", frozenset({"orders:write", "orders:read"}))


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_a_token_says_whose_it_is_and_when_it_ends():
    tokens = issuer(new_pem())
    issued = issue(tokens)
    said = tokens.read(issued.token)
    assert (said.sub, said.sid, said.role, said.scope) == (
        "account",
        "session",
        "customer",
        "orders:read orders:write",
    )
    assert issued.expires_at == NOON + timedelta(minutes=15) == datetime.fromtimestamp(said.exp, UTC)


def test_a_token_of_another_key_or_issuer_is_refused():
    pem = new_pem()
    for other in (issuer(new_pem()), issuer(pem, settings=Auth(issuer="elsewhere"))):
        with pytest.raises(Unauthenticated):
            issuer(pem).read(issue(other).token)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_token_without_one_of_the_claims_is_refused(claim: str):
    pem = new_pem()
    claims = claims_of(issue(issuer(pem)).token)
    del claims[claim]
    with pytest.raises(Unauthenticated):
        issuer(pem).read(KeyRing.from_pem(pem).sign(claims))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "god"},
        {"scope": ["ops:write"]},
        {"exp": "tomorrow"},
        {"sub": 7},
        {"sid": None},
        {"iss": ["stockyard"]},
    ],
)
def test_a_token_with_a_claim_of_another_kind_is_refused(change: dict[str, Any]):
    pem = new_pem()
    tokens = issuer(pem)
    key = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    # By PyJWT's parts: its own encode would refuse some of these.
    body = json.dumps(claims_of(issue(tokens).token) | change).encode()
    kid = tokens.ring.jwks()["keys"][0]["kid"]
    with pytest.raises(Unauthenticated):
        tokens.read(jwt.api_jws.encode(body, key, algorithm="EdDSA", headers={"kid": kid}))


def part(content: object) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def test_forged_tokens_are_refused():
    tokens = issuer(new_pem())
    token = issue(tokens).token
    header, body, signature = token.split(".")
    [jwk] = tokens.ring.jwks()["keys"]
    claims = claims_of(token) | {"scope": "ops:write"}
    public = jwt.utils.base64url_decode(jwk["x"])
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
        jwt.encode(claims, public, algorithm="HS256", headers={"kid": jwk["kid"]}),
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
            tokens.read(text)
    assert tokens.read(token).sub == "account"


def test_two_keys_are_live_while_one_replaces_the_other():
    old, new = new_pem(), new_pem()
    before = issuer(old)
    token = issue(before).token
    during = issuer(new + old)
    assert during.read(token).sub == "account"
    assert before.ring.jwks()["keys"][0] in during.ring.jwks()["keys"]
    after = issuer(new)
    assert after.read(issue(during).token).sub == "account"
    with pytest.raises(Unauthenticated):
        after.read(token)


def test_processes_that_are_restarted_one_by_one_read_each_others_tokens_through_a_rotation():
    old, new = new_pem(), new_pem()
    # As docs/auth.md has it: behind the old one, in front of it, alone.
    steps = [issuer(pems) for pems in (old, old + new, new + old, new)]
    for before, after in pairwise(steps[:3]):
        for writer, reader in ((before, after), (after, before)):
            assert reader.read(issue(writer).token).sub == "account"
    assert steps[3].read(issue(steps[2]).token).sub == "account"


def test_an_old_key_may_be_given_by_its_public_half():
    old, new = new_pem(), new_pem()
    key = serialization.load_pem_private_key(old.encode(), None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    half = key.public_bytes(serialization.Encoding.PEM, form).decode()
    assert issuer(new + half).read(issue(issuer(old)).token).sub == "account"
    with pytest.raises(ValueError, match="private key"):
        KeyRing.from_pem(half)


@pytest.mark.parametrize(
    "text", ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_a_signing_key_that_is_none_is_refused_at_start(text: str):
    with pytest.raises(ValueError):
        KeyRing.from_pem(text)


def test_others_can_check_our_tokens_by_the_jwk_set():
    tokens = issuer(new_pem())
    token = issue(tokens).token
    key = jwt.PyJWKSet.from_dict(tokens.ring.jwks())[jwt.get_unverified_header(token)["kid"]]
    lax: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, key.key, algorithms=["EdDSA"], issuer="stockyard", options=lax)
    assert claims["scope"] == "orders:read orders:write"
    assert all("d" not in jwk for jwk in tokens.ring.jwks()["keys"])


def test_a_kid_is_the_thumbprint_of_the_published_example():
    """RFC 8037, appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    key = OKPAlgorithm.from_jwk(jwk)
    assert isinstance(key, Ed25519PublicKey)
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
