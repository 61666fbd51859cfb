"""Stock on the wire."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field

from api.schemas.common import ID, NextCursor, Shown, Timestamp, Wire
from domain.inventory.rules import DEFAULT_LOCATION, whose_stock
from domain.values import Id, LocationCode, Quantity, Text


def _not_zero(units: int) -> int:
    if units == 0:
        raise ValueError("an adjustment changes something")
    return units


#: Units that come or go: at most a million either way.
Change = Annotated[
    int,
    Field(strict=True, ge=-1_000_000, le=1_000_000, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_not_zero),
]
Reason = Annotated[Text, Field(max_length=200)]


class Movement(Wire):
    """What all operations on stock have."""

    reason: Reason
    location: LocationCode = DEFAULT_LOCATION


class Adjustment(Movement):
    """Units to add, or to take where `quantity` is negative."""

    quantity: Change

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"quantity": 40, "reason": "delivery 2026-11-22"}]}
    )


class Receipt(Movement):
    """Units that have come."""

    quantity: Quantity

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"quantity": 40, "location": "leith", "reason": "delivery 4711"}]}
    )


class Damage(Movement):
    """Units that cannot be sold any more."""

    quantity: Quantity

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantity": 2, "reason": "dropped"}]})


class Return(Movement):
    """Sold units that have come back and can be sold again."""

    quantity: Quantity
    #: The order that they were sold by.
    order_id: Id | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"quantity": 1, "reason": "too sweet", "order_id": ID}]}
    )


class Count(Movement):
    """How many units are there, held ones included."""

    counted: Annotated[int, Field(strict=True, ge=0, le=10**9)]

    model_config = ConfigDict(json_schema_extra={"examples": [{"counted": 37, "reason": "stocktaking"}]})


class Transfer(Wire):
    """Units that go from one location to another."""

    quantity: Quantity
    source: LocationCode = Field(alias="from")
    target: LocationCode = Field(alias="to")
    reason: Reason

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"quantity": 5, "from": "main", "to": "leith", "reason": "weekly run"}]
        }
    )


class Threshold(Wire):
    """Up to how many available units the stock is low; null where nobody wants to be told."""

    low_at: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None
    #: Everywhere, unless one is named.
    location: LocationCode | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"low_at": 10, "location": "leith"}]})


class LevelView(Shown):
    """The stock of one SKU at one location."""

    sku: str
    location: str
    available: int
    reserved: int
    low_at: int | None = None
    low: bool = False


class Levels(Shown):
    """The stock of one SKU, everywhere."""

    sku: str
    available: int
    reserved: int
    levels: list[LevelView]

    @classmethod
    def of(cls, sku: str, rows: list[dict[str, Any]]) -> Self:
        """From what `Inventory.levels` answers."""
        levels = [LevelView.model_validate(row, extra="ignore") for row in rows]
        return cls(
            sku=sku,
            available=sum(level.available for level in levels),
            reserved=sum(level.reserved for level in levels),
            levels=levels,
        )


class MovementView(Shown):
    """Units that came or went."""

    id: str
    sku: str
    location: str
    quantity: int
    kind: str
    reason: str
    actor: str
    at: Timestamp
    counted: int | None = Field(None, description="Of a count: what was there.")
    order_id: str | None = Field(None, description="Of a return: the order that sold it.")
    other_location: str | None = Field(None, description="Of a transfer: the other end.")
    repair: dict[str, Any] | None = Field(None, description="Of a repair: what was set, and why.")

    @classmethod
    def of(cls, movement: Mapping[str, Any]) -> Self:
        """From a stored movement."""
        sku, location = whose_stock(movement["stock_id"])
        names = ("quantity", "kind", "reason", "actor", "at")
        return cls(
            id=movement["_id"],
            sku=sku,
            location=location,
            other_location=movement.get("other"),
            **{name: movement[name] for name in names},
            counted=movement.get("counted"),
            order_id=movement.get("order_id"),
            repair=movement.get("repair"),
        )


class MovementsView(Shown):
    """The movements of one operation."""

    movements: list[MovementView]


class MovementPage(Shown):
    """Movements of one SKU, oldest first."""

    movements: list[MovementView]
    next_cursor: NextCursor
