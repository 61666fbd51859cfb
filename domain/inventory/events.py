"""What is told of reservations and of stock."""

from typing import Literal

from domain.events.registry import ACCOUNT, ID, SHOPS, EventData, event


@event("hold.held", subject="reservation", whose=ACCOUNT, example={"reservation_id": ID})
class HoldHeld(EventData):
    """A reservation without an order holds stock."""

    reservation_id: str


@event(
    "hold.released",
    subject="reservation",
    whose=ACCOUNT,
    example={"reservation_id": ID, "cause": "given_back"},
)
class HoldReleased(EventData):
    """A reservation without an order was given back."""

    reservation_id: str
    cause: str


@event(
    "hold.expired",
    subject="reservation",
    whose=ACCOUNT,
    example={"reservation_id": ID, "cause": "expired"},
)
class HoldExpired(EventData):
    """A reservation's time was over, or that of the hold of `order_id`; then `order.expired` follows."""

    reservation_id: str
    cause: Literal["expired"]
    order_id: str | None = None


class _Level(EventData):
    sku: str
    location: str
    available: int
    low_at: int | None


_EXAMPLE = {"sku": "CHAI-1", "location": "main", "available": 3, "low_at": 5}


@event("stock.low", subject="SKU", whose=SHOPS, example=_EXAMPLE)
class StockLow(_Level):
    """No more units than the stock's threshold `low_at` are available."""


@event("stock.back", subject="SKU", whose=SHOPS, example=_EXAMPLE | {"available": 40})
class StockBack(_Level):
    """There are more again."""
