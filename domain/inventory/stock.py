"""Guarded changes of stock, as parts of a transaction."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from domain.changes import Changes, Database
from domain.inventory.models import MOVEMENTS, STOCK
from domain.inventory.rules import by_quantity, stock_id


async def available(database: Database, skus: Iterable[str]) -> dict[str, int]:
    """Available units by stock id, at the default location."""
    ids = sorted({stock_id(sku) for sku in skus})
    rows = database[STOCK].find({"_id": {"$in": ids}}, {"available": 1})
    return {row["_id"]: int(row["available"]) async for row in rows}


def take(changes: Changes, units: Mapping[str, int]) -> None:
    """Available to reserved; the transaction fails where fewer are available."""
    for quantity, ids in by_quantity(units).items():
        query = {"_id": {"$in": ids}, "available": {"$gte": quantity}}
        change = {"$inc": {"available": -quantity, "reserved": quantity}}
        changes.update(STOCK, query, change, expect=len(ids), name="stock to take")


def give_back(changes: Changes, units: Mapping[str, int]) -> None:
    """Reserved to available."""
    for quantity, ids in by_quantity(units).items():
        query = {"_id": {"$in": ids}, "reserved": {"$gte": quantity}}
        change = {"$inc": {"available": quantity, "reserved": -quantity}}
        changes.update(STOCK, query, change, expect=len(ids), name="stock to give back")


def sell(changes: Changes, holds: Iterable[Mapping[str, Any]], *, at: datetime) -> None:
    """Reserved units leave: one movement per line of each hold."""
    rows = list(holds)
    units: dict[str, int] = {}
    movements = []
    for hold in rows:
        for line in hold["lines"]:
            units[line["stock_id"]] = units.get(line["stock_id"], 0) + line["quantity"]
            movements.append(_sale(hold, line, at))
    for quantity, ids in by_quantity(units).items():
        query = {"_id": {"$in": ids}, "reserved": {"$gte": quantity}}
        changes.update(STOCK, query, {"$inc": {"reserved": -quantity}}, expect=len(ids), name="stock to sell")
    changes.insert(MOVEMENTS, movements)


def _sale(hold: Mapping[str, Any], line: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "_id": f"{hold['_id']}:{line['stock_id']}",
        "stock_id": line["stock_id"],
        "quantity": -line["quantity"],
        "kind": "sale",
        "reason": f"order {hold['order_id']}",
        "actor": hold["account_id"],
        "at": at,
    }
