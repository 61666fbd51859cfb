"""The keys that sign tokens: which are live, where they are kept, how they rotate."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from jwt.types import Options
from jwt.utils import base64url_encode
from pymongo.errors import DuplicateKeyError

from domain.accounts.models import SIGNING_KEYS
from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import Conflict, SigningKeySet
from domain.settings import Auth
from domain.values import new_id

ALGORITHM = "EdDSA"
#: What every token has to say.
CLAIMS = ("iss", "sub", "sid", "iat", "exp")
#: Beyond the life of its tokens, a replaced key is kept for so long: clocks differ.
SLACK = timedelta(minutes=1)
#: The id of the key that the first process makes.
FIRST = "shared"

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


class KeyRing:
    """The keys that are live: one signs, all verify. A key's `kid` is its thumbprint (RFC 7638)."""

    def __init__(self, signing: Ed25519PrivateKey, others: Sequence[Ed25519PublicKey] = ()) -> None:
        self._signing = signing
        self._kid = thumbprint(signing.public_key())
        self._public = {thumbprint(key): key for key in (signing.public_key(), *others)}

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Reads one or more PEM blocks: the first is a private key and signs, others only verify.

        Raises ValueError where that is not what the text holds.
        """
        # In an environment of single lines the line breaks are written as two characters.
        text = text.replace("\\n", "\n")
        blocks = [(match[1], match[0].encode()) for match in _PEM.finditer(text)]
        if not blocks or "PRIVATE" not in blocks[0][0]:
            raise ValueError("the signing key has to be an Ed25519 private key in PEM form")
        signing, *others = (_load(data, private="PRIVATE" in label) for label, data in blocks)
        if not isinstance(signing, Ed25519PrivateKey):
            raise TypeError("a public key cannot sign")
        return cls(signing, [_public(key) for key in others])

    @property
    def kids(self) -> frozenset[str]:
        """The ids of all live keys."""
        return frozenset(self._public)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token of the claims, with the `kid` of the signing key."""
        return jwt.encode(dict(claims), self._signing, algorithm=ALGORITHM, headers={"kid": self._kid})

    def verify(self, token: str, *, issuer: str, audience: str | None = None) -> dict[str, Any]:
        """The claims of a token that a live key signed. Its times are the caller's to check.

        One that is for another `audience`, or for any where none is named, is refused.

        Raises jwt.PyJWTError, and ValueError or RecursionError for some forgeries.
        """
        key = self._public.get(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            raise jwt.InvalidTokenError("no live key has this kid")
        own_clock: Options = {"verify_exp": False, "verify_iat": False, "require": list(CLAIMS)}
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[ALGORITHM], issuer=issuer, audience=audience, options=own_clock
        )
        return claims

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517): for those who check our tokens themselves."""
        use = {"use": "sig", "alg": ALGORITHM}
        return {"keys": [{**_jwk(key), **use, "kid": kid} for kid, key in self._public.items()]}


async def open_ring(database: Database, settings: Auth, *, now: datetime) -> KeyRing:
    """The keys of the settings, else those that all processes share in the store; makes the first one.

    Production sets `signing_key`: whoever can read the store could sign tokens with a key that is kept there.
    """
    if settings.signing_key is not None:
        return KeyRing.from_pem(settings.signing_key.get_secret_value())
    kept = await _kept(database, now)
    live = [key for key in kept if key["verifies_until"] is None or now < key["verifies_until"]]
    # A key that waits is told of before it signs. The oldest always signs where no other does yet.
    signs = max(
        (key for key in live if key["signs_from"] <= now),
        key=lambda key: key["created_at"],
        default=live[0],
    )
    others = [key["pem"] for key in live if key is not signs]
    return KeyRing.from_pem("\n".join([signs["pem"], *others]))


async def rotate(
    database: Database, settings: Auth, *, now: datetime, lead: timedelta, at_once: bool = False
) -> datetime:
    """A new key in the store, which signs once `lead` is over; when that is.

    The old ones verify on until their last token has expired; `at_once` they are dropped, as when one has
    leaked. Raises SigningKeySet where the settings name the keys, and Conflict where another was faster.
    """
    if settings.signing_key is not None:
        raise SigningKeySet
    signs_from = now if at_once else now + lead
    until = now if at_once else signs_from + settings.access_ttl + SLACK
    changes, kept = Changes(), await _kept(database, now)
    for key in kept:
        known = {"_id": key["_id"], "verifies_until": key["verifies_until"]}
        if at_once or key["verifies_until"] is None:
            changes.update(
                SIGNING_KEYS, known, {"$set": {"verifies_until": until}}, expect=1, name="replaced"
            )
    changes.insert(SIGNING_KEYS, [_key(new_id(), now, signs_from=signs_from)])
    try:
        await changes.commit(database)
    except GuardFailed:
        raise Conflict(reason="another_rotation") from None
    for key in kept:
        # Nothing is signed or verified with these any more.
        if key["verifies_until"] is not None and key["verifies_until"] < now:
            await database[SIGNING_KEYS].delete_one({"_id": key["_id"]})
    return signs_from


async def _kept(database: Database, now: datetime) -> list[Doc]:
    """All keys of the store, oldest first; the first one is made here."""
    keys = database[SIGNING_KEYS]
    found = await keys.find().sort("created_at").to_list()
    if not found:
        with suppress(DuplicateKeyError):
            await keys.insert_one(_key(FIRST, now, signs_from=now))
        found = await keys.find().sort("created_at").to_list()
    if not found:
        raise RuntimeError("the signing key vanished from the store")
    # A row without these, or with nothing in them, is of a version that did not rotate.
    return [
        {**row, "signs_from": row.get("signs_from") or row["created_at"],
         "verifies_until": row.get("verifies_until")}
        for row in found
    ]  # fmt: skip


def _key(key_id: str, now: datetime, *, signs_from: datetime) -> Doc:
    facts = {"created_at": now, "signs_from": signs_from, "verifies_until": None}
    return {"_id": key_id, "pem": new_pem(), **facts}


def new_pem() -> str:
    """A new Ed25519 private key, as the settings take it."""
    key = Ed25519PrivateKey.generate()
    form, envelope = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, envelope).decode()


def thumbprint(key: Ed25519PublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638, RFC 8037)."""
    members = json.dumps(_jwk(key), sort_keys=True, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(members.encode()).digest()).decode()


def _jwk(key: Ed25519PublicKey) -> dict[str, str]:
    jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: str(jwk[name]) for name in ("crv", "kty", "x")}


def _load(data: bytes, *, private: bool) -> Ed25519PrivateKey | Ed25519PublicKey:
    load: Callable[[bytes], Any] = serialization.load_pem_public_key
    key = serialization.load_pem_private_key(data, password=None) if private else load(data)
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        raise TypeError("the signing key has to be an Ed25519 key")
    return key


def _public(key: Ed25519PrivateKey | Ed25519PublicKey) -> Ed25519PublicKey:
    return key.public_key() if isinstance(key, Ed25519PrivateKey) else key
