"""Refresh tokens: what they look like, and how one leads to the next. Pure.

A token is `rt_<session>.<family>.<secret>`. All tokens of a session share the family part, so that an old one
is told from one that was made up; the secret is the token's own. The next secret follows from the present one
and a salt that only the store has: whoever shows a token that was replaced a moment ago can be given the same
next one again, and nobody can find it without both.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from domain.errors import Unauthenticated

_FORM = re.compile(r"rt_([0-9a-f-]{36})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, repr=False)
class RefreshToken:
    """One token of a session."""

    session_id: str
    family: str
    secret: str

    @classmethod
    def first(cls, session_id: str) -> Self:
        """A new family."""
        return cls(session_id, secrets.token_urlsafe(16), secrets.token_urlsafe(32))

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises Unauthenticated for what has not the form of one."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise Unauthenticated
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"rt_{self.session_id}.{self.family}.{self.secret}"

    @property
    def family_hash(self) -> str:
        """What the store keeps of the family."""
        return digest(self.family)

    @property
    def hash(self) -> str:
        """What the store keeps of this token."""
        return digest(self.secret)

    def next(self, salt: str) -> Self:
        """The token that replaces it."""
        follows = hmac.new(salt.encode(), self.secret.encode(), hashlib.sha256).digest()
        return replace(self, secret=urlsafe_b64encode(follows).rstrip(b"=").decode())

    def caught_up(self, replaced: Iterable[Mapping[str, Any]]) -> Self | None:
        """The current token, where this one is among those `replaced`, oldest first; else None."""
        found: Self | None = None
        for each in replaced:
            if found is None and same(each["hash"], self.hash):
                found = self
            if found is not None:
                found = found.next(each["salt"])
        return found


def digest(text: str) -> str:
    """SHA-256, in hexadecimal: enough for what is random and long."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def same(left: str, right: str) -> bool:
    """Whether two digests are the same, in constant time."""
    return hmac.compare_digest(left, right)


def new_salt() -> str:
    """For `RefreshToken.next`."""
    return secrets.token_urlsafe(24)
