"""Addresses that CloudFront checks: their signatures and policies, by the public key."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from domain.adapters.cloudfront import CloudFrontUrls
from domain.settings import Cdn

URL, KEY, PAIR = "https://cdn.example.com", "originals/ab", "K2JCJMDEHXQW5F"
UNTIL = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
SINCE = datetime(2031, 1, 1, tzinfo=UTC)


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def urls(key: rsa.RSAPrivateKey) -> CloudFrontUrls:
    return CloudFrontUrls(url=URL, key_pair_id=PAIR, private_key=pem(key))


def decoded(text: str) -> bytes:
    """CloudFront's own base64."""
    return b64decode(text.translate(str.maketrans("-_~", "+=/")))


def parts(url: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


def verify(key: rsa.RSAPrivateKey, url: str, policy: bytes) -> None:
    key.public_key().verify(decoded(parts(url)["Signature"]), policy, PKCS1v15(), SHA1())  # noqa: S303


async def test_an_address_that_only_ends_has_a_canned_policy(
    urls: CloudFrontUrls, key: rsa.RSAPrivateKey
) -> None:
    url = await urls.sign(KEY, until=UNTIL)
    ends = int(UNTIL.timestamp())
    assert url.startswith(f"{URL}/{KEY}?Expires={ends}&Signature=")
    assert set(parts(url)) == {"Expires", "Signature", "Key-Pair-Id"}
    assert parts(url)["Key-Pair-Id"] == PAIR
    # The text that CloudFront puts together from the address, byte for byte.
    policy = json.dumps(
        {"Statement": [{"Resource": f"{URL}/{KEY}", "Condition": {"DateLessThan": {"AWS:EpochTime": ends}}}]},
        separators=(",", ":"),
    )
    verify(key, url, policy.encode())
    with pytest.raises(InvalidSignature):
        verify(key, url, policy.replace(str(ends), str(ends + 1)).encode())


async def test_a_beginning_and_a_network_stand_in_a_custom_policy(
    urls: CloudFrontUrls, key: rsa.RSAPrivateKey
) -> None:
    url = await urls.sign(KEY, until=UNTIL, since=SINCE, network="203.0.113.0/24")
    assert set(parts(url)) == {"Policy", "Signature", "Key-Pair-Id"}
    policy = decoded(parts(url)["Policy"])
    verify(key, url, policy)
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Resource"] == f"{URL}/{KEY}"
    assert statement["Condition"] == {
        "DateLessThan": {"AWS:EpochTime": int(UNTIL.timestamp())},
        "DateGreaterThan": {"AWS:EpochTime": int(SINCE.timestamp())},
        "IpAddress": {"AWS:SourceIp": "203.0.113.0/24"},
    }


async def test_one_address_is_a_network_of_its_own(urls: CloudFrontUrls) -> None:
    url = await urls.sign(KEY, until=UNTIL, network="203.0.113.7")
    condition = json.loads(decoded(parts(url)["Policy"]))["Statement"][0]["Condition"]
    assert condition["IpAddress"] == {"AWS:SourceIp": "203.0.113.7/32"}


def test_settings_make_a_signer_only_when_they_are_whole(key: rsa.RSAPrivateKey) -> None:
    whole = {"url": URL, "key_pair_id": PAIR, "private_key": pem(key)}
    assert CloudFrontUrls.of(Cdn.model_validate(whole)) is not None
    for name in whole:
        assert CloudFrontUrls.of(Cdn.model_validate({**whole, name: None})) is None


def test_only_an_rsa_key_signs() -> None:
    with pytest.raises(ValueError, match="RSA"):
        CloudFrontUrls(url=URL, key_pair_id=PAIR, private_key=pem(ed25519.Ed25519PrivateKey.generate()))
