"""P3, read from the store itself: never oversold, and every unit accounted for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pymongo import MongoClient
from pymongo.database import Database

from domain.inventory.models import HOLDS, MOVEMENTS, STOCK
from domain.inventory.rules import HELD, held_units

Store: TypeAlias = Database[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Books:
    """What an audit found: how many stocks there are, what is wrong by stock id, and the units sold."""

    stocks: int = 0
    wrong: Mapping[str, str] = field(default_factory=dict)
    sold: int = 0


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


def audit(database: Store) -> Books:
    """Looks at each SKU and location.

    `available` and `reserved` have to be no less than 0, `reserved` the sum of the held lines, and
    `available + reserved` the sum of the movements. Reads them one after the other: for a shop where nothing
    moves at the moment.
    """
    held = held_units(database[HOLDS].find({"state": HELD}, {"lines": 1}))
    moved, sold = Counter[str](), 0
    for row in database[MOVEMENTS].find({}, {"stock_id": 1, "quantity": 1, "kind": 1}):
        moved[row["stock_id"]] += row["quantity"]
        if row["kind"] == "sale":
            sold -= row["quantity"]
    stocks = list(database[STOCK].find())
    found = {row["_id"]: _wrong(row, held[row["_id"]], moved[row["_id"]]) for row in stocks}
    wrong = {name: "; ".join(lines) for name, lines in sorted(found.items()) if lines}
    return Books(stocks=len(stocks), wrong=wrong, sold=sold)


def oversold(database: Store) -> list[str]:
    """What an audit finds wrong, one line per stock; empty while P3 holds."""
    return [f"{name}: {what}" for name, what in audit(database).wrong.items()]


def below_zero(database: Store) -> list[str]:
    """Stock that is negative right now: a look that is right at every instant."""
    query = {"$or": [{"available": {"$lt": 0}}, {"reserved": {"$lt": 0}}]}
    return [f"{row['_id']}: {row['available']} available" for row in database[STOCK].find(query)]


def _wrong(row: Mapping[str, Any], held: int, moved: int) -> list[str]:
    available, reserved = row["available"], row["reserved"]
    found = []
    if min(available, reserved) < 0:
        found.append(f"{available} available, {reserved} reserved")
    if reserved != held:
        found.append(f"{reserved} reserved, {held} held")
    if available + reserved != moved:
        found.append(f"{available} available + {reserved} reserved, {moved} moved in")
    return found
