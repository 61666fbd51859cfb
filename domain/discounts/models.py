"""Discounts, their uses, and who used them, as stored. Amounts are integers of minor units."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import IndexModel

from domain.discounts.terms import Clause, Terms

DISCOUNTS = "discounts"
REDEMPTIONS = "redemptions"
CUSTOMERS = "discount_customers"

HELD, COMMITTED, RELEASED = "held", "committed", "released"
#: What is counted of uses.
COUNTS = ("taken", "committed", "released")
#: How the lookups of automatic discounts begin; codes are in upper case, so that none is among them.
AUTOMATIC = "auto:"


class StoredClause(BaseModel):
    """Lines of which all that it names is true."""

    sku: str | None = None
    product: str | None = None
    category: str | None = None
    type: str | None = None


class StoredDiscount(Document):
    """A discount with what was used of it.

    `taken` counts uses that are held or committed, and only grows where its limit and its budget allow it;
    `committed` are those of them that were paid. Each is the number of the redemptions in these states.
    """

    id: str  # type: ignore[assignment]  # a UUIDv7 of ours, not an ObjectId
    #: The code; AUTOMATIC and the id where there is none. Never changes.
    lookup: str
    code: str | None
    name: str
    kind: str
    #: A decimal as text.
    percent: str
    amount: int
    buy: int
    reward: int
    currency: str | None
    on: list[StoredClause]
    groups: list[str]
    min_spend: int
    cap: int | None
    limit: int | None
    per_customer: int | None
    budget: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    combines_with: list[str]
    priority: int
    active: bool
    taken: int = 0
    committed: int = 0
    released: int = 0
    #: What these uses took off, by currency: `{"USD": {"taken": 1200, "committed": 0, "released": 300}}`.
    amounts: dict[str, dict[str, int]] = Field(default_factory=dict)
    #: When the last use or the last of the budget was taken, since limit and budget are what they are.
    exhausted_at: datetime | None = None
    #: Anew with each edit, not with each use: an order that was decided on other terms is decided again.
    revision: str
    #: Tells a repeated request from another, and whether it says the same.
    request: str
    said: str
    created_by: str
    created_at: datetime
    updated_at: datetime

    class Settings:
        """Where, and how orders find one."""

        name = DISCOUNTS
        indexes = (
            IndexModel([("lookup", pymongo.ASCENDING)], unique=True, name="by_lookup"),
            IndexModel([("request", pymongo.ASCENDING)], unique=True, name="by_request"),
        )


class Redemption(Document):
    """One use of a discount by an order. Ends with the order's hold; a committed one with a refund."""

    id: str  # type: ignore[assignment]  # the order's id and the discount's: one order uses it once
    discount_id: str
    order_id: str
    account_id: str
    code: str | None
    amount: int
    currency: str
    state: str
    created_at: datetime
    ended_at: datetime | None = None

    class Settings:
        """Where. Found by id alone: orders and holds name theirs."""

        name = REDEMPTIONS


class DiscountCustomer(Document):
    """What one customer used of one discount; counts as in StoredDiscount."""

    id: str  # type: ignore[assignment]  # customer_id(lookup, account)
    account_id: str
    taken: int = 0
    committed: int = 0
    released: int = 0
    amounts: dict[str, dict[str, int]] = Field(default_factory=dict)

    class Settings:
        """Where. A discount's customers are a range of ids."""

        name = CUSTOMERS


def unused(currency: str | None) -> dict[str, Any]:
    """The counts of what nobody has used yet."""
    amounts = {} if currency is None else {currency: dict.fromkeys(COUNTS, 0)}
    return dict.fromkeys(COUNTS, 0) | {"amounts": amounts}


def customer_id(lookup: str, account_id: str) -> str:
    """The id of what a customer used of a discount."""
    return f"{lookup}:{account_id}"


def terms_of(row: Mapping[str, Any]) -> Terms:
    """What the stored discount says."""
    plain = {name: row[name] for name in _PLAIN}
    return Terms(
        id=row["_id"],
        percent=Decimal(row["percent"]),
        on=tuple(Clause(**clause) for clause in row["on"]),
        groups=frozenset(row["groups"]),
        combines_with=frozenset(row["combines_with"]),
        **plain,
    )


def fields_of(terms: Terms) -> dict[str, Any]:
    """The terms as they are stored."""
    return {name: getattr(terms, name) for name in _PLAIN} | {
        "percent": format(terms.percent, "f"),
        "on": [
            {name: value for name in Clause.__slots__ if (value := getattr(clause, name)) is not None}
            for clause in terms.on
        ],
        "groups": sorted(terms.groups),
        "combines_with": sorted(terms.combines_with),
    }


#: Fields that are stored as they are.
_PLAIN = (
    "code", "name", "kind", "amount", "buy", "reward", "currency", "min_spend", "cap", "limit",
    "per_customer", "budget", "starts_at", "ends_at", "priority",
)  # fmt: skip
