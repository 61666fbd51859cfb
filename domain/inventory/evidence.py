"""Why a stock differs: the holds and movements that speak for what it should be, or are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.changes import Database, Doc
from domain.events.rules import rfc3339
from domain.inventory.models import HOLDS, MOVEMENTS
from domain.inventory.rules import COMMITTED, HELD
from domain.inventory.stock import sale_id

#: The most holds and movements that one finding names.
MOST = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """A stock as it is, beside what its holds and movements add up to."""

    available: int
    reserved: int
    held: int
    moved: int

    @property
    def differ(self) -> bool:
        """Whether the stock is not what made it."""
        return self.reserved != self.held or self.off != 0 or self.available < 0

    @property
    def off(self) -> int:
        """Units that the stock has too many; less than 0 where it has too few."""
        return self.available + self.reserved - self.moved


@dataclass(frozen=True, slots=True)
class Finding:
    """A stock that is not what made it, and why."""

    stock_id: str
    figures: Figures
    #: When an audit of the timetable last found it right; None where none has.
    right_at: datetime | None
    #: One sentence per reason.
    because: tuple[str, ...]
    #: Holds that count, oldest first; and its movements, newest first. No more than `MOST` of each.
    holds: tuple[Doc, ...]
    movements: tuple[Doc, ...]


async def explain(
    database: Database, stock_id: str, figures: Figures, *, right_at: datetime | None
) -> Finding:
    """What the store has to say about the difference."""
    holds = await _holds(database, stock_id, HELD)
    newest = database[MOVEMENTS].find({"stock_id": stock_id}).sort([("at", -1), ("_id", -1)])
    movements = await newest.limit(MOST).to_list()
    because = []
    if figures.available < 0:
        because.append(f"{figures.available} units are available: less than none")
    if figures.reserved != figures.held:
        because.append(_held(figures, stock_id, holds))
    if figures.off:
        because += await _moved(database, stock_id, figures, movements)
    return Finding(stock_id, figures, right_at, tuple(because), tuple(holds[:MOST]), tuple(movements))


async def _holds(database: Database, stock_id: str, state: str) -> list[Doc]:
    query = {"state": state, "lines.stock_id": stock_id}
    return await database[HOLDS].find(query).sort("_id").to_list()


def _held(figures: Figures, stock_id: str, holds: Sequence[Doc]) -> str:
    named = ", ".join(
        f"{hold['_id']} holds {_units(hold, stock_id)} since {rfc3339(hold['created_at'])}"
        for hold in holds[:MOST]
    )
    by = f"{len(holds)} hold(s) keep {figures.held}: {named}" if holds else "no hold keeps any"
    return f"{figures.reserved} units are reserved, and {by}"


async def _moved(database: Database, stock_id: str, figures: Figures, movements: Sequence[Doc]) -> list[str]:
    """Sales without a committed hold, committed holds without a sale, and how many units are off."""
    last = f"; the last was {movements[0]['kind']} at {rfc3339(movements[0]['at'])}" if movements else ""
    there = figures.available + figures.reserved
    found = [f"{there} units are there, and the movements add up to {figures.moved}{last}"]
    sales = database[MOVEMENTS].find({"stock_id": stock_id, "kind": "sale"}, {"_id": 1, "at": 1})
    sold = {row["_id"]: row["at"] async for row in sales}
    committed = {sale_id(hold["_id"], stock_id): hold for hold in await _holds(database, stock_id, COMMITTED)}
    missing = [committed[each] for each in sorted(committed.keys() - sold.keys())]
    found += [
        f"hold {hold['_id']} was committed at {rfc3339(hold['ended_at'])}, and its sale has no movement"
        for hold in missing[:MOST]
    ]
    found += [
        f"movement {each} of {rfc3339(sold[each])} is a sale, and no committed hold is behind it"
        for each in sorted(sold.keys() - committed.keys())[:MOST]
    ]
    return found


def _units(hold: Mapping[str, Any], stock_id: str) -> int:
    return sum(line["quantity"] for line in hold["lines"] if line["stock_id"] == stock_id)
