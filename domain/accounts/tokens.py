"""Access tokens: JSON Web Tokens signed with Ed25519 (RFC 8037), checked without a look at the store."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from jwt.types import Options
from jwt.utils import base64url_encode
from pydantic import BaseModel, ValidationError
from pymongo.errors import DuplicateKeyError

from domain.accounts.models import SigningKey
from domain.accounts.rules import Principal, Role
from domain.errors import Unauthenticated
from domain.settings import Auth
from domain.values import Clock, utcnow

ALGORITHM = "EdDSA"
#: What every token has to say.
CLAIMS = ("iss", "sub", "iat", "exp", "scope", "role")
#: Characters of a token; ours have about 450.
MAX_LENGTH = 4096
#: Tokens that one process remembers as verified.
REMEMBERED = 4096

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a log-in answers."""

    token: str
    expires_at: datetime
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret


class KeyRing:
    """The keys that are live: one signs, all verify.

    So keys rotate without logging anybody out: put the new key in front of the old one, and take the old one
    away when its last token has expired. A key's `kid` is its thumbprint (RFC 7638).
    """

    def __init__(self, signing: Ed25519PrivateKey, others: Sequence[Ed25519PublicKey] = ()) -> None:
        self._signing = signing
        self._kid = thumbprint(signing.public_key())
        self._public = {thumbprint(key): key for key in (signing.public_key(), *others)}

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Reads one or more PEM blocks: the first is a private key and signs, others only verify.

        Raises ValueError where that is not what the text holds.
        """
        blocks = [(match[1], match[0].encode()) for match in _PEM.finditer(text)]
        if not blocks or "PRIVATE" not in blocks[0][0]:
            raise ValueError("the signing key has to be an Ed25519 private key in PEM form")
        signing, *others = (_load(data, private="PRIVATE" in label) for label, data in blocks)
        if not isinstance(signing, Ed25519PrivateKey):
            raise TypeError("a public key cannot sign")
        return cls(signing, [_public(key) for key in others])

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token of the claims, with the `kid` of the signing key."""
        return jwt.encode(dict(claims), self._signing, algorithm=ALGORITHM, headers={"kid": self._kid})

    def verify(self, token: str, *, issuer: str) -> dict[str, Any]:
        """The claims of a token that a live key signed. Its times are the caller's to check.

        Raises jwt.PyJWTError, and ValueError or RecursionError for some forgeries.
        """
        key = self._public.get(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            raise jwt.InvalidTokenError("no live key has this kid")
        own_clock: Options = {"verify_exp": False, "verify_iat": False, "require": list(CLAIMS)}
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[ALGORITHM], issuer=issuer, options=own_clock
        )
        return claims

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517): for those who check our tokens themselves."""
        use = {"use": "sig", "alg": ALGORITHM}
        return {"keys": [{**_jwk(key), **use, "kid": kid} for kid, key in self._public.items()]}


class Tokens:
    """Issues access tokens, and says who holds one."""

    def __init__(self, ring: KeyRing, settings: Auth, clock: Clock = utcnow) -> None:
        self.ring = ring
        self._issuer = settings.issuer
        self._ttl: timedelta = settings.access_ttl
        self._clock = clock
        self._verified: dict[bytes, tuple[Principal, float]] = {}

    def issue(self, principal: Principal) -> AccessToken:
        """A token that is valid for the access time of the settings."""
        now = self._clock()
        expires_at = (now + self._ttl).replace(microsecond=0)
        claims = {
            "iss": self._issuer,
            "sub": principal.account_id,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "role": principal.role,
            "scope": " ".join(sorted(principal.scopes)),
        }
        return AccessToken(self.ring.sign(claims), expires_at)

    def authenticate(self, token: str) -> Principal:
        """Who holds the token. Raises Unauthenticated for anything but a valid token of ours.

        No store is read: a token is good until it expires. What was verified once is remembered by its
        SHA-256 until then, as verifying costs some hundred microseconds.
        """
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._verified.get(digest)
        principal, expires = known if known is not None else self._verify(token)
        if self._clock().timestamp() >= expires:
            self._verified.pop(digest, None)
            raise Unauthenticated(reason="expired")
        if known is None:
            self._remember(digest, principal, expires)
        return principal

    def _verify(self, token: str) -> tuple[Principal, float]:
        if len(token) > MAX_LENGTH:
            raise Unauthenticated
        try:
            claims = _Claims.model_validate(self.ring.verify(token, issuer=self._issuer))
        except (jwt.PyJWTError, ValidationError, ValueError, RecursionError) as error:
            raise Unauthenticated from error
        return Principal(claims.sub, claims.role, frozenset(claims.scope.split())), claims.exp

    def _remember(self, digest: bytes, principal: Principal, expires: float) -> None:
        if len(self._verified) >= REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = principal, expires


class _Claims(BaseModel):
    sub: str
    role: Role
    scope: str
    exp: float


async def open_ring(settings: Auth) -> KeyRing:
    """The keys of the settings, else one key that all processes share in the store.

    Production sets `signing_key`: whoever can read the store could sign tokens with a key that is kept there.
    """
    if settings.signing_key is not None:
        return KeyRing.from_pem(settings.signing_key.get_secret_value())
    return KeyRing.from_pem(await _shared_pem())


async def _shared_pem() -> str:
    found = await SigningKey.get("shared")
    if found is None:
        try:
            found = await SigningKey(id="shared", pem=new_pem(), created_at=utcnow()).insert()
        except DuplicateKeyError:
            found = await SigningKey.get("shared")
    if found is None:
        raise RuntimeError("the signing key vanished from the store")
    return found.pem


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
