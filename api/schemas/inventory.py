"""Stock on the wire."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from api.schemas.common import NextCursor, Shown, Timestamp, Wire


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


class Adjustment(Wire):
    """Units to add, or to take where `quantity` is negative."""

    quantity: Change
    reason: Annotated[str, Field(min_length=1, max_length=200)]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"quantity": 40, "reason": "delivery 2026-11-22"}]}
    )


class LevelView(Shown):
    """The stock of one SKU at one location."""

    sku: str
    location: str
    available: int
    reserved: int


class Levels(Shown):
    """The stock of one SKU, everywhere."""

    sku: str
    available: int
    reserved: int
    levels: list[LevelView]


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


class MovementPage(Shown):
    """Movements of one SKU, by id."""

    movements: list[MovementView]
    next_cursor: NextCursor
