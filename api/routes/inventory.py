"""Stock: levels, movements and adjustments."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import REPLAYED, json, page
from api.deps import KEYED, Caller, Cursor, Limit, Requires
from api.openapi import problems
from api.schemas.inventory import Adjustment, Levels, LevelView, MovementPage, MovementView
from api.submission import Submission, Submits
from domain.changes import Doc

routes = APIRouter(prefix="/v1/inventory", tags=["inventory"])

Reader = Annotated[Caller, Depends(Requires("inventory:read"))]
Change = Annotated[Submission[Adjustment], Depends(Submits("inventory:write", Adjustment))]


@routes.get("/{sku}", responses=problems(404), summary="Stock of a SKU")
async def get_levels(sku: str, caller: Reader) -> Levels:
    """What is available and what is reserved, in all and at each location."""
    rows = await caller.services.inventory.levels(sku)
    levels = [LevelView.model_validate(row, extra="ignore") for row in rows]
    return Levels(
        sku=sku,
        available=sum(level.available for level in levels),
        reserved=sum(level.reserved for level in levels),
        levels=levels,
    )


@routes.get("/{sku}/movements", responses=problems(404), summary="What came and went")
async def list_movements(sku: str, caller: Reader, limit: Limit = 50, cursor: Cursor = None) -> MovementPage:
    """The SKU's movements, whose sum is what is available and reserved."""
    await caller.services.inventory.levels(sku)
    rows = await caller.services.inventory.movements(sku, after=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda movement: str(movement["_id"]))
    return MovementPage(movements=[_view(movement) for movement in shown], next_cursor=following)


@routes.post(
    "/{sku}/adjustments",
    status_code=201,
    response_model=MovementView,
    responses=problems(400, 409),
    openapi_extra=KEYED,
    summary="Adjust the stock",
)
async def adjust(sku: str, change: Change) -> Response:
    """Adds units, or takes them: never more than are available."""
    caller, wanted = change.caller, change.body
    adjusted = await caller.services.inventory.adjust(
        sku=sku, quantity=wanted.quantity, reason=wanted.reason, actor=caller.account_id, key=change.key
    )
    return json(_view(adjusted.movement), 201, REPLAYED if adjusted.replayed else None)


def _view(movement: Doc) -> MovementView:
    location, _, sku = movement["stock_id"].partition(":")
    return MovementView(
        id=movement["_id"],
        sku=sku,
        location=location,
        **{name: movement[name] for name in ("quantity", "kind", "reason", "actor", "at")},
    )
