"""Carts as stored."""

import hashlib
from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import IndexModel

from domain.values import Money

CARTS = "carts"


class CartLine(BaseModel):
    """Units of one SKU, and the price that whoever added them has seen."""

    #: Anew once units of the line were ordered: an order takes what it was told of, once.
    id: str
    sku: str
    quantity: int
    seen: Money


class StoredCart(Document):
    """One cart of an account, or of whoever has its token; of the token the store has only the SHA-256.

    Every change makes a new revision, and is guarded by the one that it was decided on.
    """

    id: str  # type: ignore[assignment]  # account_cart(account) or anonymous_cart(token)
    revision: str
    lines: list[CartLine]
    codes: list[str]
    #: The latest additions: a repetition adds nothing.
    added: list[dict[str, Any]] = Field(default_factory=list)
    #: The account that has taken over an anonymous cart, and what it had no room for.
    merged_into: str | None = None
    left_out: list[dict[str, Any]] = Field(default_factory=list)
    created_at: datetime
    updated_at: datetime
    #: Gone for its readers from then on; deleted some time later.
    expires_at: datetime

    class Settings:
        """Where, and how the expired ones are found."""

        name = CARTS
        indexes = (IndexModel([("expires_at", pymongo.ASCENDING)], name="to_sweep"),)


def account_cart(account_id: str) -> str:
    """The id of an account's cart."""
    return f"account:{account_id}"


def anonymous_cart(token: str) -> str:
    """The id of the cart that the token is for."""
    return f"anonymous:{hashlib.sha256(token.encode()).hexdigest()}"
