"""Locations, stock, movements, holds and audits as stored."""

from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import IndexModel

from domain.inventory.rules import HELD

STOCK = "stock"
MOVEMENTS = "stock_movements"
HOLDS = "holds"
LOCATIONS = "locations"
AUDITS = "stock_audits"


class Location(Document):
    """A place where stock is. Deleted ones stay, for movements name them; their codes are not given again."""

    id: str  # type: ignore[assignment]  # its code
    name: str
    #: Stock is taken from the lowest first.
    priority: int
    #: Nothing is sold from one that is not.
    active: bool
    #: How many stocks were ever opened here: tells a deletion that there is one more.
    stocks: int
    deleted_at: datetime | None = None
    #: Anew with each edit.
    revision: str
    created_at: datetime
    updated_at: datetime

    class Settings:
        """Where. There are few: they are read all at once."""

        name = LOCATIONS


class Stock(Document):
    """Units of one SKU at one location.

    `available + reserved` is the sum of the movements; `reserved` is the sum of the held lines; neither is
    ever negative. Both change only by updates that are guarded in their query.
    """

    id: str  # type: ignore[assignment]  # stock_id(location, sku)
    sku: str
    location: str
    available: int
    reserved: int
    #: It is low while no more are available; None where nobody wants to be told.
    low_at: int | None = None
    #: Whether it is low, as was last told. Changes in the update that makes it so.
    low: bool = False
    #: Its location was deleted: nothing comes here any more but what was sold from here.
    closed: bool | None = None
    #: When it was last counted.
    counted_at: datetime | None = None

    class Settings:
        """Where. Found by id alone, so that the hot updates maintain no index."""

        name = STOCK


class Movement(Document):
    """Units that came or went. Never changed, never deleted."""

    id: str  # type: ignore[assignment]  # unique per operation: a second run of one cannot move twice
    stock_id: str
    quantity: int
    kind: str
    reason: str
    actor: str
    at: datetime
    #: Of a count: what was found, held units included.
    counted: int | None = None
    #: Of a return: the order that the units were sold by.
    order_id: str | None = None
    #: Of a transfer: the location that the units went to, or came from.
    other: str | None = None
    #: Of a repair: what the auditor found and set.
    repair: dict[str, Any] | None = None

    class Settings:
        """Where, and how a SKU's movements are read."""

        name = MOVEMENTS
        indexes = (IndexModel([("stock_id", pymongo.ASCENDING), ("at", pymongo.ASCENDING)], name="by_stock"),)


class HoldLine(BaseModel):
    """Units held of one SKU at one location."""

    stock_id: str
    sku: str
    quantity: int


class Hold(Document):
    """Stock that is kept for an order, or for a reservation without one, until it ends.

    It ends once: `committed` (the units are sold) or `released` (they are available again); `cause` says why.
    """

    id: str  # type: ignore[assignment]  # the order's id, or the reservation's
    account_id: str
    order_id: str | None
    state: str
    cause: str | None = None
    lines: list[HoldLine]
    created_at: datetime
    #: When its own time is over; a payment that has begun by then may put `expires_at` off a little.
    due_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    #: Uses of discounts that its order took, and that end with it.
    redemptions: list[dict[str, Any]] = Field(default_factory=list)

    class Settings:
        """Where, and how the expired ones are found."""

        name = HOLDS
        indexes = (
            IndexModel(
                [("expires_at", pymongo.ASCENDING)], partialFilterExpression={"state": HELD}, name="to_expire"
            ),
        )


class StockAudit(Document):
    """What one audit of the timetable found: tells until when a stock that differs was right."""

    id: str  # type: ignore[assignment]  # a UUIDv7
    at: datetime
    stocks: int
    #: Ids of the stocks that differed.
    wrong: list[str]

    class Settings:
        """Where. Read by the last ids."""

        name = AUDITS
