"""Stock, movements and holds as stored."""

from datetime import datetime

import pymongo
from beanie import Document
from pydantic import BaseModel
from pymongo import IndexModel

from domain.inventory.rules import HELD

STOCK = "stock"
MOVEMENTS = "stock_movements"
HOLDS = "holds"


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

    class Settings:
        """Where, and how the expired ones are found."""

        name = HOLDS
        indexes = (
            IndexModel(
                [("expires_at", pymongo.ASCENDING)], partialFilterExpression={"state": HELD}, name="to_expire"
            ),
        )
