"""Stock: levels, thresholds and movements. What changes it is in `movements`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.answers import page
from api.body import JsonBody
from api.cursors import invalid_cursor
from api.deps import Caller, Cursor, Limit, Requires
from api.openapi import problems
from api.schemas.inventory import Levels, MovementPage, MovementView, Threshold
from domain.errors import NotFound
from domain.values import LocationCode

routes = APIRouter(prefix="/v1/inventory", tags=["inventory"])

Reader = Annotated[Caller, Depends(Requires("inventory:read"))]
Writer = Annotated[Caller, Depends(Requires("inventory:write"))]
At = Annotated[LocationCode | None, Query(description="At this location only.", examples=["main"])]


@routes.get("/{sku}", responses=problems(404), summary="Stock of a SKU")
async def get_levels(sku: str, caller: Reader) -> Levels:
    """What is available and what is reserved, in all and at each location."""
    return Levels.of(sku, await caller.services.inventory.levels(sku))


@routes.get("/{sku}/movements", responses=problems(404), summary="What came and went")
async def list_movements(
    sku: str, caller: Reader, limit: Limit = 50, cursor: Cursor = None, location: At = None
) -> MovementPage:
    """The SKU's movements, whose sum is what is available and reserved."""
    inventory = caller.services.inventory
    await inventory.levels(sku)
    try:
        rows = await inventory.movements(sku, after=cursor, limit=limit + 1, location=location)
    except NotFound:
        raise invalid_cursor() from None
    shown, following = page(rows, limit, lambda movement: str(movement["_id"]))
    return MovementPage(movements=[MovementView.of(each) for each in shown], next_cursor=following)


@routes.put("/{sku}/threshold", responses=problems(404), summary="Set when stock is low")
async def set_threshold(
    sku: str, caller: Writer, wanted: Annotated[Threshold, Depends(JsonBody(Threshold))]
) -> Levels:
    """Tells `stock.low` or `stock.back` at once where the new threshold makes it so."""
    rows = await caller.services.inventory.threshold(sku, low_at=wanted.low_at, location=wanted.location)
    return Levels.of(sku, rows)
