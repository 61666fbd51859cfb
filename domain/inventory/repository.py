"""Queries of holds."""

from collections.abc import Sequence
from datetime import datetime

from domain.changes import Database, Doc
from domain.inventory.models import HOLDS
from domain.inventory.rules import EXPIRED, GIVEN_BACK, HELD, USE


async def still_held(database: Database, hold_ids: Sequence[str], cause: str, *, at: datetime) -> list[Doc]:
    """Those of the holds that can end for the cause: still held, over if they expire, free if given back."""
    query: Doc = {"_id": {"$in": list(hold_ids)}, "state": HELD}
    if cause == EXPIRED:
        query["expires_at"] = {"$lte": at}
    if cause == GIVEN_BACK:
        query["order_id"] = None
    return await database[HOLDS].find(query).sort("_id").to_list()


async def expired(database: Database, *, at: datetime, limit: int) -> list[str]:
    """Ids of holds whose time is over, longest first."""
    query = {"state": HELD, "expires_at": {"$lte": at}}
    rows = database[HOLDS].find(query, {"_id": 1}).sort("expires_at").limit(limit)
    return [row["_id"] async for row in rows]


async def expired_on(
    database: Database, wanted: Sequence[str], *, at: datetime, limit: int, without: Sequence[str]
) -> list[Doc]:
    """Holds on SKUs and on uses of discounts whose time is over, longest first, but for some."""
    uses = [each.removeprefix(USE) for each in wanted if each.startswith(USE)]
    on_stock = {"lines.sku": {"$in": [each for each in wanted if not each.startswith(USE)]}}
    on_uses = {"redemptions.discount_id": {"$in": uses}}
    query: Doc = {"state": HELD, "expires_at": {"$lte": at}}
    query |= {"$or": [on_stock, on_uses]} if uses else on_stock
    if without:
        query["_id"] = {"$nin": list(without)}
    return await database[HOLDS].find(query).sort("expires_at").limit(limit).to_list()
