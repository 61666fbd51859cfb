"""P3, read from the store: never oversold, and every unit accounted for."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from pymongo import MongoClient
from pymongo.database import Database

from domain.inventory.models import HOLDS, MOVEMENTS, STOCK
from domain.inventory.rules import HELD

Store: TypeAlias = Database[dict[str, Any]]


@contextmanager
def store(url: str, name: str, *, seconds: float = 20) -> Iterator[Store]:
    """The named database, for looking into."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        url, tz_aware=True, serverSelectionTimeoutMS=int(seconds * 1000)
    )
    try:
        yield client[name]
    finally:
        client.close()


def operations(database: Store) -> dict[str, int]:
    """How many operations of each kind the whole server has had; empty where it does not tell."""
    counters = database.client.admin.command("serverStatus").get("opcounters", {})
    return {str(name): int(count) for name, count in counters.items()}


def oversold(database: Store) -> list[str]:
    """What is wrong with the stock, one line each; empty while P3 holds.

    Reads stock, held lines and movements one after the other: for a shop where nothing moves at the moment.
    """
    held = _sum(
        (line["stock_id"], line["quantity"])
        for hold in database[HOLDS].find({"state": HELD}, {"lines": 1})
        for line in hold["lines"]
    )
    moved = _sum((row["stock_id"], row["quantity"]) for row in database[MOVEMENTS].find())
    wrong = []
    for row in database[STOCK].find():
        name, available, reserved = row["_id"], row["available"], row["reserved"]
        if available < 0:
            wrong.append(f"{name}: {available} available")
        if reserved != held[name]:
            wrong.append(f"{name}: {reserved} reserved, {held[name]} held")
        if available + reserved != moved[name]:
            wrong.append(f"{name}: {available} available + {reserved} reserved, {moved[name]} moved in")
    return wrong


def below_zero(database: Store) -> list[str]:
    """Stock that is negative right now: a look that is right at every instant."""
    query = {"$or": [{"available": {"$lt": 0}}, {"reserved": {"$lt": 0}}]}
    return [f"{row['_id']}: {row['available']} available" for row in database[STOCK].find(query)]


def _sum(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, value in pairs:
        total[name] += value
    return total
