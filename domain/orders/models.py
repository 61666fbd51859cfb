"""Orders and payments as stored. Amounts are integers of minor units in the order's currency."""

from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import IndexModel

ORDERS = "orders"
PAYMENTS = "payments"
COMPLETIONS = "order_completions"
#: Marks a payment whose money goes back: no order takes it any more.
GOES_BACK = "goes_back"


class OrderLine(BaseModel):
    """One line as it was priced. `percent_off` is a decimal as text."""

    sku: str
    name: str
    quantity: int
    unit_price: int
    percent_off: str
    gross: int
    net: int
    #: What discounts take off the line, and its tax.
    discount: int = 0
    tax: int = 0


class Moment(BaseModel):
    """One line of an order's timeline."""

    state: str
    at: datetime
    #: The id of the account that acted, or what else did.
    actor: str | None = None
    reason: str | None = None


class Order(Document):
    """An order, from the moment that its stock was reserved or refused."""

    id: str  # type: ignore[assignment]  # the id of the job that placed it
    account_id: str
    state: str
    currency: str
    lines: list[OrderLine]
    #: Of the lines, before and after agreed prices.
    gross: int
    net: int
    #: Applied discounts, each with what it takes off by line; `discount` is what they take off the lines.
    discounts: list[dict[str, Any]] = Field(default_factory=list)
    discount: int = 0
    shipping: int = 0
    #: On top of the total, or in it.
    tax: int = 0
    tax_included: bool = False
    #: What the customer pays. An order of before there were totals has none: its net is due.
    total: int | None = None
    address: dict[str, Any]
    #: Uses of discounts that it took; they end with its hold, and with a refund.
    redemptions: list[dict[str, Any]] = Field(default_factory=list)
    hold_id: str | None
    expires_at: datetime | None = None
    payment_id: str | None = None
    #: Refunds and fulfilments in the order in which they began, see `shares`.
    refunds: list[dict[str, Any]] = Field(default_factory=list)
    fulfilments: list[dict[str, Any]] = Field(default_factory=list)
    rejection: dict[str, Any] | None = None
    timeline: list[Moment]
    created_at: datetime

    class Settings:
        """Where, and how an account lists its own. Each index costs every order that is placed."""

        name = ORDERS
        indexes = (
            IndexModel([("account_id", pymongo.ASCENDING), ("_id", pymongo.DESCENDING)], name="by_account"),
        )


class Completion(Document):
    """A fulfilled order that completes by itself: it goes when it has, or when it was looked at too late."""

    id: str  # type: ignore[assignment]  # the order's
    at: datetime

    class Settings:
        """Where, and how those that are due are found."""

        name = COMPLETIONS
        indexes = (IndexModel([("at", pymongo.ASCENDING)], name="due"),)


class Payment(Document):
    """One attempt to charge an order. States: `started captured declined voided refunded`."""

    id: str  # type: ignore[assignment]  # the id of the job, and the provider's key
    order_id: str
    state: str
    amount: int
    currency: str
    source: str
    reason: str | None = None
    #: Minor units that were paid back.
    refunded: int = 0
    #: It came too late.
    goes_back: bool = False
    created_at: datetime
    ended_at: datetime | None = None

    class Settings:
        """Where, and how an order's are read."""

        name = PAYMENTS
        indexes = (
            IndexModel([("order_id", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)], name="by_order"),
        )
