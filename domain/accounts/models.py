"""What is stored of accounts."""

from datetime import datetime
from typing import ClassVar

from beanie import Document
from pydantic import Field
from pymongo import ASCENDING, IndexModel

from domain.accounts.rules import Role
from domain.values import new_id


class Account(Document):
    """Somebody who can log in. `email` is in lower case and unique."""

    id: str = Field(default_factory=new_id)  # type: ignore[assignment]  # Beanie's own is an ObjectId
    email: str
    password_hash: str = Field(repr=False)
    role: Role
    scopes: list[str]
    created_at: datetime

    class Settings:
        """Beanie's."""

        name = "accounts"
        indexes: ClassVar = [IndexModel([("email", ASCENDING)], name="email", unique=True)]


class SigningKey(Document):
    """A private key that signs tokens, where the settings name none. See `tokens.open_ring`."""

    id: str  # type: ignore[assignment]  # a fixed name, so that racing processes agree
    pem: str = Field(repr=False)
    created_at: datetime

    class Settings:
        """Beanie's."""

        name = "signing_keys"
