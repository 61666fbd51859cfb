"""Whether the books are right: what was promised of stock, read from the store itself."""

from collections import Counter
from dataclasses import dataclass

from domain.changes import Database
from domain.inventory.models import HOLDS, MOVEMENTS, STOCK
from domain.inventory.rules import HELD, held_units


@dataclass(frozen=True, slots=True)
class Books:
    """What an audit found: of how many stocks, the ones that are wrong, and the units that were sold."""

    stocks: int
    wrong: tuple[str, ...]
    sold: int


async def audit(database: Database) -> Books:
    """Looks at each SKU and location.

    `available` and `reserved` have to be no less than 0, `reserved` the sum of the held lines, and
    `available + reserved` the sum of the movements.
    """
    movements = await database[MOVEMENTS].find({}, {"stock_id": 1, "quantity": 1, "kind": 1}).to_list()
    held = held_units(await database[HOLDS].find({"state": HELD}, {"lines": 1}).to_list())
    moved: Counter[str] = Counter()
    for row in movements:
        moved[row["stock_id"]] += row["quantity"]
    stocks = await database[STOCK].find().to_list()
    wrong = [
        row["_id"]
        for row in stocks
        if min(row["available"], row["reserved"]) < 0
        or row["reserved"] != held[row["_id"]]
        or row["available"] + row["reserved"] != moved[row["_id"]]
    ]
    sold = -sum(row["quantity"] for row in movements if row["kind"] == "sale")
    return Books(stocks=len(stocks), wrong=tuple(sorted(wrong)), sold=sold)
