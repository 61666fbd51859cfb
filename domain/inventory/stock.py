"""Guarded changes of stock, as parts of a transaction.

What makes more or fewer units available is handed the levels as they were read, and answers the events to
record in the same transaction: `stock.low` where a stock gets low by it, `stock.back` where it is low no
more. Its guards are such that these are told exactly when it happens (see `rules.Step`); where they fail,
read the levels again.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from domain.changes import Changes, Database, Doc
from domain.events.models import NewEvent
from domain.events.rules import SHOP
from domain.inventory.models import MOVEMENTS, STOCK
from domain.inventory.rules import DEFAULT_LOCATION, Level, Step, by_quantity, steps, stock_id, whose_stock

#: Keys of one read: SecantusDB's work for more grows with their square. More are read side by side.
KEYS = 50
LEVEL = {"available": 1, "reserved": 1, "low_at": 1, "low": 1}


async def levels(database: Database, stock_ids: Iterable[str]) -> dict[str, Level]:
    """The levels of those stocks that there are, by id."""
    wanted = sorted(set(stock_ids))
    parts = [wanted[start : start + KEYS] for start in range(0, len(wanted), KEYS)]
    found: dict[str, Level] = {}
    for each in await asyncio.gather(*(_levels(database, part) for part in parts)):
        found |= each
    return found


async def _levels(database: Database, stock_ids: Sequence[str]) -> dict[str, Level]:
    rows = database[STOCK].find({"_id": {"$in": stock_ids}}, LEVEL)
    return {row["_id"]: level(row) async for row in rows}


def level(row: Mapping[str, Any]) -> Level:
    """A stored stock's level."""
    return Level(row["available"], row["reserved"], row.get("low_at"), bool(row.get("low")))


def empty(sku: str, *, low_at: int | None, location: str = DEFAULT_LOCATION) -> Doc:
    """A stock without units, as stored. It is low from the start: nothing is told before it has been more."""
    return {
        "_id": stock_id(sku, location),
        "sku": sku,
        "location": location,
        "available": 0,
        "reserved": 0,
        "low_at": low_at,
        "low": low_at is not None,
    }


def shelve(changes: Changes, skus: Iterable[str], *, low_at: int | None) -> None:
    """Adds an empty stock of each SKU at the default location, for SKUs that the transaction makes."""
    changes.insert(STOCK, [empty(sku, low_at=low_at) for sku in skus])


def take(changes: Changes, units: Mapping[str, int], seen: Mapping[str, Level]) -> list[NewEvent]:
    """Available to reserved; the transaction fails where fewer are available."""
    taken = {each: -quantity for each, quantity in units.items()}
    return _change(changes, taken, seen, name="stock to take", keep=True)


def give_back(changes: Changes, units: Mapping[str, int], seen: Mapping[str, Level]) -> list[NewEvent]:
    """Reserved to available."""
    return _change(changes, units, seen, name="stock to give back", keep=True)


def move(
    changes: Changes, movements: Sequence[Doc], seen: Mapping[str, Level], *, closed: bool = False
) -> list[NewEvent]:
    """Units that come or go, with their movements; the transaction fails where fewer are available.

    Nothing comes to a deleted location unless `closed`.
    """
    moved: dict[str, int] = {}
    for movement in movements:
        moved[movement["stock_id"]] = moved.get(movement["stock_id"], 0) + movement["quantity"]
    changes.insert(MOVEMENTS, list(movements))
    return _change(changes, moved, seen, name="stock to move", closed=closed)


def returned(
    changes: Changes,
    seen: Mapping[str, Level],
    *,
    refund_id: str,
    order_id: str,
    lines: Iterable[Mapping[str, Any]],
    actor: str,
    reason: str,
    at: datetime,
) -> list[NewEvent]:
    """Sold units come back to where they were sold from: movements, and stock to sell.

    `lines` are those of the order's hold (or parts of them: `stock_id`, `quantity`), and `seen` is
    `levels(database, stock ids of the lines)`. One (refund, stock) is one movement: a transaction that runs
    twice fails on its id. Answers the events to record with it. Units come back to a deleted location, too:
    no refund fails for that.
    """
    units: dict[str, int] = {}
    for line in lines:
        units[line["stock_id"]] = units.get(line["stock_id"], 0) + line["quantity"]
    movements = [
        {
            "_id": f"refund:{refund_id}:{each}",
            "stock_id": each,
            "quantity": quantity,
            "kind": "return",
            "reason": reason,
            "actor": actor,
            "order_id": order_id,
            "at": at,
        }
        for each, quantity in sorted(units.items())
    ]
    return move(changes, movements, seen, closed=True)


def sell(changes: Changes, holds: Iterable[Mapping[str, Any]], *, at: datetime) -> None:
    """Reserved units leave: one movement per line of each hold."""
    units: dict[str, int] = {}
    movements = []
    for hold in holds:
        for line in hold["lines"]:
            units[line["stock_id"]] = units.get(line["stock_id"], 0) + line["quantity"]
            movements.append(_sale(hold, line, at))
    for quantity, ids in by_quantity(units).items():
        query = {"_id": {"$in": ids}, "reserved": {"$gte": quantity}}
        changes.update(STOCK, query, {"$inc": {"reserved": -quantity}}, expect=len(ids), name="stock to sell")
    changes.insert(MOVEMENTS, movements)


def sale_id(hold_id: str, stock: str) -> str:
    """The id of the movement by which a hold's units left."""
    return f"{hold_id}:{stock}"


def turned(stock: str, available: int, low_at: int | None, *, low: bool) -> NewEvent:
    """What is told of a stock that got low, or is low no more."""
    sku, location = whose_stock(stock)
    data = {"sku": sku, "location": location, "available": available, "low_at": low_at}
    return NewEvent(SHOP, "stock.low" if low else "stock.back", sku, data)


def _change(
    changes: Changes,
    units: Mapping[str, int],
    seen: Mapping[str, Level],
    *,
    name: str,
    keep: bool = False,
    closed: bool = True,
) -> list[NewEvent]:
    """`keep`: what is available less is reserved more, and the other way round."""
    events = []
    for step, ids in steps(units, seen).items():
        query = _guard(ids, step)
        update: Doc = {"$inc": {"available": step.by}}
        if keep:
            update["$inc"]["reserved"] = -step.by
            if step.by > 0:
                query["reserved"] = {"$gte": step.by}
        if step.by > 0 and not closed:
            query["closed"] = None
        if step.turns:
            update["$set"] = {"low": step.low_after}
            after = (step.exactly or 0) + step.by
            events += [turned(each, after, step.low_at, low=step.low_after) for each in ids]
        changes.update(STOCK, query, update, expect=len(ids), name=name)
    return events


def _guard(ids: Sequence[str], step: Step) -> Doc:
    query: Doc = {"_id": {"$in": list(ids)}, "low_at": step.low_at}
    if step.low_at is not None or step.low:
        query["low"] = True if step.low else {"$ne": True}
    bounds = {"$gte": step.least} if step.least > 0 else {}
    if step.most is not None:
        bounds["$lte"] = step.most
    if bounds:
        query["available"] = bounds
    if step.exactly is not None:
        query["available"] = step.exactly
    return query


def _sale(hold: Mapping[str, Any], line: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "_id": sale_id(hold["_id"], line["stock_id"]),
        "stock_id": line["stock_id"],
        "quantity": -line["quantity"],
        "kind": "sale",
        "reason": f"order {hold['order_id']}",
        "actor": hold["account_id"],
        "at": at,
    }
