"""What people do to stock. Each needs a key, and happens once per key, actor and kind."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from api.answers import REPLAYED, json
from api.deps import KEYED
from api.openapi import problems
from api.schemas.inventory import (
    Adjustment,
    Count,
    Damage,
    MovementsView,
    MovementView,
    Receipt,
    Return,
    Transfer,
)
from api.submission import Submission, Submits
from domain.inventory.movements import Moved

routes = APIRouter(prefix="/v1/inventory/{sku}", tags=["inventory"])

WRITE = "inventory:write"
#: What all of these say in OpenAPI.
MOVES: dict[str, Any] = {"status_code": 201, "responses": problems(400, 409), "openapi_extra": KEYED}


@routes.post("/adjustments", response_model=MovementView, summary="Adjust the stock", **MOVES)
async def adjust(
    sku: str, change: Annotated[Submission[Adjustment], Depends(Submits(WRITE, Adjustment))]
) -> Response:
    """Adds units, or takes them: never more than are available."""
    wanted = change.body
    return _answer(
        await change.caller.services.inventory.adjust(
            sku=sku, quantity=wanted.quantity, location=wanted.location, **_by(change)
        )
    )


@routes.post("/receipts", response_model=MovementView, summary="Receive units", **MOVES)
async def receive(
    sku: str, change: Annotated[Submission[Receipt], Depends(Submits(WRITE, Receipt))]
) -> Response:
    """Units have come to a location."""
    wanted = change.body
    return _answer(
        await change.caller.services.inventory.receive(
            sku=sku, quantity=wanted.quantity, location=wanted.location, **_by(change)
        )
    )


@routes.post("/counts", response_model=MovementView, summary="Set what was counted", **MOVES)
async def count(sku: str, change: Annotated[Submission[Count], Depends(Submits(WRITE, Count))]) -> Response:
    """The difference becomes a movement, also one of 0. Never below what is reserved."""
    wanted = change.body
    return _answer(
        await change.caller.services.inventory.count(
            sku=sku, counted=wanted.counted, location=wanted.location, **_by(change)
        )
    )


@routes.post("/damages", response_model=MovementView, summary="Write units off", **MOVES)
async def damage(
    sku: str, change: Annotated[Submission[Damage], Depends(Submits(WRITE, Damage))]
) -> Response:
    """Units that cannot be sold leave: never more than are available."""
    wanted = change.body
    return _answer(
        await change.caller.services.inventory.damage(
            sku=sku, quantity=wanted.quantity, location=wanted.location, **_by(change)
        )
    )


@routes.post("/returns", response_model=MovementView, summary="Take units back", **MOVES)
async def take_back(
    sku: str, change: Annotated[Submission[Return], Depends(Submits(WRITE, Return))]
) -> Response:
    """Sold units can be sold again. Moves no money: refunds do, and restock by themselves."""
    wanted = change.body
    return _answer(
        await change.caller.services.inventory.take_back(
            sku=sku,
            quantity=wanted.quantity,
            location=wanted.location,
            order_id=wanted.order_id,
            **_by(change),
        )
    )


@routes.post("/transfers", response_model=MovementsView, summary="Move units elsewhere", **MOVES)
async def transfer(
    sku: str, change: Annotated[Submission[Transfer], Depends(Submits(WRITE, Transfer))]
) -> Response:
    """Two movements together. Never more than are available at `from`."""
    wanted = change.body
    moved = await change.caller.services.inventory.transfer(
        sku=sku, quantity=wanted.quantity, source=wanted.source, target=wanted.target, **_by(change)
    )
    shown = MovementsView(movements=[MovementView.of(each) for each in moved.movements])
    return json(shown, 201, REPLAYED if moved.replayed else None)


def _by(change: Submission[Any]) -> dict[str, str]:
    return {"reason": change.body.reason, "actor": change.caller.account_id, "key": change.key}


def _answer(moved: Moved) -> Response:
    return json(MovementView.of(moved.movement), 201, REPLAYED if moved.replayed else None)
