"""Access tokens: JSON Web Tokens signed with Ed25519 (RFC 8037), read without the store."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from pydantic import BaseModel, ValidationError

from domain.accounts.keyring import KeyRing
from domain.accounts.rules import Role
from domain.errors import Unauthenticated
from domain.settings import Auth
from domain.values import Clock, utcnow

#: Characters of a token; ours have about 500.
MAX_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, and when it ends."""

    token: str
    expires_at: datetime


class Claims(BaseModel):
    """What a valid token says; `exp` is in seconds since 1970."""

    sub: str
    sid: str
    role: Role
    scope: str
    exp: float


class Tokens:
    """Issues access tokens, and reads them. `ring` is replaced when keys rotate."""

    def __init__(self, ring: KeyRing, settings: Auth, clock: Clock = utcnow) -> None:
        self.ring = ring
        self._issuer = settings.issuer
        self._ttl: timedelta = settings.access_ttl
        self._clock = clock

    def issue(self, account_id: str, session_id: str, role: Role, scopes: frozenset[str]) -> AccessToken:
        """A token that is valid for the access time of the settings, while its session is."""
        now = self._clock()
        expires_at = (now + self._ttl).replace(microsecond=0)
        claims = {
            "iss": self._issuer,
            "sub": account_id,
            "sid": session_id,
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "role": role,
            "scope": " ".join(sorted(scopes)),
        }
        return AccessToken(self.ring.sign(claims), expires_at)

    def sign(self, account_id: str, session_id: str, *, audience: str, ttl: timedelta) -> str:
        """A token for somebody else than the API, which refuses it."""
        now = int(self._clock().timestamp())
        names = {"iss": self._issuer, "aud": audience, "sub": account_id, "sid": session_id}
        return self.ring.sign(names | {"iat": now, "exp": now + int(ttl.total_seconds())})

    def verify(self, token: str, *, audience: str) -> dict[str, Any]:
        """The claims of what `sign` made for the audience; raises as `KeyRing.verify`."""
        return self.ring.verify(token, issuer=self._issuer, audience=audience)

    def read(self, token: str) -> Claims:
        """What the token says; its end is the caller's to check. Raises Unauthenticated for none of ours."""
        if len(token) > MAX_LENGTH:
            raise Unauthenticated
        try:
            return Claims.model_validate(self.ring.verify(token, issuer=self._issuer))
        except (jwt.PyJWTError, ValidationError, ValueError, RecursionError) as error:
            raise Unauthenticated from error
