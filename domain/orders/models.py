"""Orders and payments as stored. Amounts are integers of minor units in the order's currency."""

from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel
from pymongo import IndexModel

ORDERS = "orders"
PAYMENTS = "payments"


class OrderLine(BaseModel):
    """One line as it was priced. `percent_off` is a decimal as text."""

    sku: str
    name: str
    quantity: int
    unit_price: int
    percent_off: str
    gross: int
    net: int


class Moment(BaseModel):
    """One line of an order's timeline."""

    state: str
    at: datetime


class Order(Document):
    """An order, from the moment that its stock was reserved or refused."""

    id: str  # type: ignore[assignment]  # the id of the job that placed it
    account_id: str
    state: str
    currency: str
    lines: list[OrderLine]
    gross: int
    net: int
    address: dict[str, Any]
    hold_id: str | None
    expires_at: datetime | None = None
    payment_id: str | None = None
    rejection: dict[str, Any] | None = None
    timeline: list[Moment]
    created_at: datetime

    class Settings:
        """Where, and how an account lists its own."""

        name = ORDERS
        indexes = (
            IndexModel([("account_id", pymongo.ASCENDING), ("_id", pymongo.DESCENDING)], name="by_account"),
        )


class Payment(Document):
    """One attempt to charge an order. States: `started captured declined voided`."""

    id: str  # type: ignore[assignment]  # the id of the job, and the provider's key
    order_id: str
    state: str
    amount: int
    currency: str
    source: str
    reason: str | None = None
    created_at: datetime
    ended_at: datetime | None = None

    class Settings:
        """Where, and how an order's are read."""

        name = PAYMENTS
        indexes = (
            IndexModel([("order_id", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)], name="by_order"),
        )
