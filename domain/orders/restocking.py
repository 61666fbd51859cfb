"""Sold units go back to where they were sold from."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from domain.changes import Changes, Database, Doc
from domain.events.models import NewEvent
from domain.inventory import stock
from domain.inventory.models import HOLDS


async def restock(
    database: Database,
    changes: Changes,
    order: Doc,
    lines: Iterable[Mapping[str, Any]],
    *,
    act_id: str,
    actor: str,
    reason: str,
    at: datetime,
) -> list[NewEvent]:
    """Adds what brings units (`sku`, `quantity`) of the order back; answers the events to record with it.

    One act brings units of a stock back once: see `stock.returned`.
    """
    hold = await database[HOLDS].find_one({"_id": order["hold_id"]})
    where = {line["sku"]: line["stock_id"] for line in (hold or {}).get("lines", ())}
    found = [
        {"stock_id": where[line["sku"]], "quantity": line["quantity"]}
        for line in lines
        if line["sku"] in where
    ]
    seen = await stock.levels(database, [line["stock_id"] for line in found])
    return stock.returned(
        changes,
        seen,
        refund_id=act_id,
        order_id=order["_id"],
        lines=found,
        actor=actor,
        reason=reason,
        at=at,
    )
