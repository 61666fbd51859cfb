"""What is stored of accounts."""

from datetime import datetime
from typing import Any, ClassVar

from beanie import Document
from pydantic import Field
from pymongo import ASCENDING, IndexModel

from domain.accounts.rules import Role
from domain.changes import Doc
from domain.values import new_id

ACCOUNTS = "accounts"
SESSIONS = "sessions"
API_KEYS = "api_keys"
SIGNING_KEYS = "signing_keys"


class Account(Document):
    """Somebody who can log in. `email` is in lower case and unique."""

    id: str = Field(default_factory=new_id)  # type: ignore[assignment]  # Beanie's own is an ObjectId
    email: str
    password_hash: str = Field(repr=False)
    role: Role
    scopes: list[str]
    #: Customer groups, for discounts.
    groups: list[str] = Field(default_factory=list)
    created_at: datetime
    #: Written by every log-in, so that it cannot pass a change of the password unseen.
    logged_in_at: datetime | None = None
    #: Made anew by every change of role, scopes and groups.
    revision: str = Field(default_factory=new_id)

    class Settings:
        """Beanie's."""

        name = ACCOUNTS
        indexes: ClassVar = [
            IndexModel([("email", ASCENDING)], name="email", unique=True),
            IndexModel([("groups", ASCENDING)], name="groups"),
        ]


def account_of(row: Doc) -> Account:
    """The stored account."""
    account: Account = Account.model_validate({**row, "id": row["_id"]})
    return account


class Session(Document):
    """One device that is logged in: a family of refresh tokens, of which one is current. No token is kept.

    Stays after its end until it would have expired, so that a copied token is still known as one.
    """

    id: str = Field(default_factory=new_id)  # type: ignore[assignment]
    account_id: str
    #: A name that its owner gave it.
    device: str | None
    user_agent: str
    #: Where it was opened or last refreshed from.
    address: str
    created_at: datetime
    #: Within a minute.
    last_used_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_for: str | None = None
    #: SHA-256 of the part that all refresh tokens of the family share, and of the current one's own.
    family_hash: str = Field(repr=False)
    refresh_hash: str = Field(repr=False)
    #: Tokens that were replaced a moment ago, oldest first: `hash`, `at`, and the `salt` of their successor.
    replaced: list[dict[str, Any]] = Field(default=[], repr=False)

    class Settings:
        """Beanie's."""

        name = SESSIONS
        indexes: ClassVar = [
            IndexModel([("account_id", ASCENDING), ("_id", ASCENDING)], name="account"),
            IndexModel([("expires_at", ASCENDING)], name="expired", expireAfterSeconds=0),
        ]


class ApiKey(Document):
    """A key for programs. The key itself is shown once, to who made it, and never kept."""

    id: str = Field(default_factory=new_id)  # type: ignore[assignment]
    account_id: str
    name: str
    #: How the key begins, to know it again.
    prefix: str
    hash: str = Field(repr=False)
    scopes: list[str]
    #: Requests a minute.
    rate_limit: int
    created_at: datetime
    expires_at: datetime | None
    #: Within a minute.
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    #: The key that replaces it.
    replaced_by: str | None = None

    class Settings:
        """Beanie's."""

        name = API_KEYS
        indexes: ClassVar = [
            IndexModel([("hash", ASCENDING)], name="hash", unique=True),
            IndexModel([("account_id", ASCENDING), ("_id", ASCENDING)], name="account"),
        ]


class SigningKey(Document):
    """A private key that signs tokens, where the settings name none. See `keyring`."""

    id: str  # type: ignore[assignment]  # the first has a fixed name, so that racing processes agree
    pem: str = Field(repr=False)
    created_at: datetime
    #: When it begins to sign. Until then processes and verifiers learn of it.
    signs_from: datetime
    #: Its tokens are good until then; None while no other key replaces it.
    verifies_until: datetime | None = None

    class Settings:
        """Beanie's."""

        name = SIGNING_KEYS
