"""What makes an account acceptable, and what its holder may do. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from domain.errors import Forbidden, Invalid

Role: TypeAlias = Literal["customer", "staff", "ops"]

#: Every scope that a route can ask for.
SCOPES = frozenset(
    {
        "orders:write",
        "orders:read",
        "orders:price",
        "orders:manage",
        "catalog:write",
        "inventory:write",
        "inventory:read",
        "discounts:write",
        "media:write",
        "ops:read",
        "ops:write",
        "webhooks:write",
        "webhooks:manage",
    }
)
#: What every customer may do, with their own orders.
CUSTOMER_SCOPES = frozenset({"orders:write", "orders:read"})
#: What an account gets with its role, where nobody says otherwise.
ROLE_SCOPES: Mapping[Role, frozenset[str]] = {
    "customer": CUSTOMER_SCOPES,
    "staff": CUSTOMER_SCOPES | {"orders:manage", "inventory:read", "ops:read"},
    "ops": SCOPES,
}

MIN_PASSWORD = 10
#: Hashing takes time with the length: more is refused, not cut.
MAX_PASSWORD = 256
#: The longest address that mail can be sent to (RFC 5321).
MAX_EMAIL = 254

#: What every API key begins with.
KEY_PREFIX = "sk_"
#: Live API keys of one account, and live sessions: past that the oldest ends.
MAX_KEYS = 50
MAX_SESSIONS = 100

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: the holder of a valid credential, which is a session's token or an API key."""

    account_id: str
    role: Role
    scopes: frozenset[str]
    session_id: str | None = None
    key_id: str | None = None
    #: Requests a minute; None for no limit.
    rate_limit: int | None = None

    def may(self, scope: str) -> bool:
        """Whether the credential allows it."""
        return scope in self.scopes

    def require(self, scope: str) -> None:
        """Raises Forbidden, naming the scope that is missing."""
        if not self.may(scope):
            raise Forbidden(scope=scope)


def normal_email(email: str) -> str:
    """The address as it is kept and compared: trimmed, in lower case. Raises Invalid(reason="email")."""
    normal = email.strip().lower()
    if len(normal) > MAX_EMAIL or not normal.isprintable() or _EMAIL.fullmatch(normal) is None:
        raise Invalid(reason="email")
    return normal


def check_password(password: str) -> None:
    """Raises Invalid(reason="weak_password" or "long_password")."""
    if len(password) < MIN_PASSWORD:
        raise Invalid(reason="weak_password", min_length=MIN_PASSWORD)
    if len(password) > MAX_PASSWORD:
        raise Invalid(reason="long_password", max_length=MAX_PASSWORD)


def known_scopes(scopes: Iterable[str]) -> list[str]:
    """The scopes, each once, sorted. Raises Invalid(reason="unknown_scope") with those that do not exist."""
    wanted = set(scopes)
    unknown = sorted(wanted - SCOPES)
    if unknown:
        raise Invalid(reason="unknown_scope", scopes=unknown)
    return sorted(wanted)


def own_scopes(scopes: Iterable[str], *, of: Iterable[str]) -> list[str]:
    """As `known_scopes`, for what somebody hands on. Raises Invalid, and Forbidden for what they have not."""
    wanted = known_scopes(scopes)
    missing = sorted(set(wanted) - set(of))
    if missing:
        raise Forbidden(scope=missing[0])
    return wanted
