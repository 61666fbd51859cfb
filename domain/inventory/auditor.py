"""The auditor: what stock should be, from movements and holds; what differs, why, and its repair.

Movements and holds are the truth; `available` and `reserved` of a stock are sums of them that are kept up to
date. All are read in one snapshot, so that work in progress is never taken for a difference.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pymongo
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.read_concern import ReadConcern

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import NotFound
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.inventory import stock
from domain.inventory.evidence import Figures, Finding, explain
from domain.inventory.models import AUDITS, HOLDS, MOVEMENTS, STOCK
from domain.inventory.news import numbered
from domain.inventory.rules import HELD, Level, held_units
from domain.observe import logger
from domain.ports import Locks
from domain.values import Clock, new_id

log = logger(__name__)

#: Stocks of one snapshot. Each snapshot reads every hold that is held: the fewer stocks, the more often.
CHUNK = 1000
#: The longest that one snapshot may take: MongoDB ends transactions after a minute.
SECONDS = 50.0
#: Before any hold: bounds a range, so that the index of held holds serves it.
EVER = datetime(2000, 1, 1, tzinfo=UTC)
#: How long it is known what an audit found.
KEEP = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Audit:
    """What one audit found, and the stock ids of what was repaired."""

    at: datetime
    stocks: int
    findings: tuple[Finding, ...]
    repaired: tuple[str, ...] = ()


class Auditor:
    """Compares stock with what made it."""

    def __init__(self, *, database: Database, events: Events, locks: Locks, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._locks = locks
        self._clock = clock

    async def audit(self, sku: str | None = None) -> Audit:
        """Looks at all stock, or at one SKU's, and writes nothing. Raises NotFound for an unknown SKU."""
        query: Doc = {"sku": sku} if sku else {}
        ids = [row["_id"] async for row in self._database[STOCK].find(query, {"_id": 1}).sort("_id")]
        if sku and not ids:
            raise NotFound(sku=sku)
        at, findings = self._clock(), []
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            # Neighbours are a range. SecantusDB looks for each of many keys in each line of each hold.
            wanted: Doc = {"$in": chunk} if sku else {"$gte": chunk[0], "$lte": chunk[-1]}
            for each, figures in (await self._look(wanted)).items():
                if figures.differ:
                    right_at = await self._right_at(each)
                    findings.append(await explain(self._database, each, figures, right_at=right_at))
        for finding in findings:
            log.warning("stock differs", stock=finding.stock_id, because=list(finding.because))
        return Audit(at, len(ids), tuple(findings))

    async def report(self) -> int:
        """Audits all stock and notes what was found, for the timetable; answers how many stocks differ.

        Deletes notes that are older than `KEEP`.
        """
        audit = await self.audit()
        wrong = [finding.stock_id for finding in audit.findings]
        note = {"_id": new_id(), "at": audit.at, "stocks": audit.stocks, "wrong": wrong}
        await self._database[AUDITS].insert_one(note)
        await self._database[AUDITS].delete_many({"at": {"$lt": audit.at - KEEP}})
        return len(wrong)

    async def repair(self, sku: str | None = None, *, actor: str, reason: str) -> Audit:
        """Audits, and sets what differs to what it should be, each with a movement that says so.

        A stock that has changed since it was looked at is left to the next repair. Raises NotFound for an
        unknown SKU.
        """
        found = await self.audit(sku)
        done = [each.stock_id for each in found.findings if await self._repair(each, actor, reason)]
        return replace(found, repaired=tuple(done))

    async def _look(self, wanted: Doc) -> dict[str, Figures]:
        """Stock, held units and sums of movements as of one instant, of the stock ids that are `wanted`."""
        with pymongo.timeout(SECONDS):
            async with self._database.client.start_session(causal_consistency=False) as session:

                async def read(live: AsyncClientSession) -> dict[str, Figures]:
                    return await self._read(wanted, live)

                return await session.with_transaction(read, read_concern=ReadConcern("snapshot"))

    async def _read(self, wanted: Doc, session: AsyncClientSession) -> dict[str, Figures]:
        database = self._database
        rows = await database[STOCK].find({"_id": wanted}, session=session).sort("_id").to_list()
        query = {"state": HELD, "expires_at": {"$gt": EVER}, "lines.stock_id": wanted}
        held = held_units(await database[HOLDS].find(query, {"lines": 1}, session=session).to_list())
        sums: list[Doc] = [
            {"$match": {"stock_id": wanted}},
            {"$group": {"_id": "$stock_id", "units": {"$sum": "$quantity"}}},
        ]
        moved = Counter[str]()
        async for row in await database[MOVEMENTS].aggregate(sums, session=session):
            moved[row["_id"]] = row["units"]
        return {
            row["_id"]: Figures(row["available"], row["reserved"], held[row["_id"]], moved[row["_id"]])
            for row in rows
        }

    async def _right_at(self, stock_id: str) -> datetime | None:
        notes = self._database[AUDITS].find({"wrong": {"$ne": stock_id}}, {"at": 1})
        last = await notes.sort("_id", -1).limit(1).to_list()
        return last[0]["at"] if last else None

    async def _repair(self, finding: Finding, actor: str, reason: str) -> bool:
        """False where it has changed since.

        Whatever happens to stock changes it by as much as its holds and movements: while the stock is as it
        was read, or is so again, what it should be is, too.
        """
        row = await self._database[STOCK].find_one({"_id": finding.stock_id}) or {}
        changes, movement = Changes(), self._movement(finding, actor, reason)
        events = _set(changes, finding, movement, stock.level(row))
        async with numbered(events, {}, events=self._events, locks=self._locks) as cursors:
            recorded = self._events.record(changes, events, cursors=cursors, at=self._clock())
            try:
                await changes.commit(self._database)
            except GuardFailed:
                # Applied before, by a commit whose answer was lost?
                return await self._database[MOVEMENTS].find_one({"_id": movement["_id"]}) is not None
        self._events.publish(recorded)
        log.warning("stock repaired", stock=finding.stock_id, actor=actor, **movement["repair"])
        return True

    def _movement(self, finding: Finding, actor: str, reason: str) -> Doc:
        """Of no units; but where more is held than ever came, of as many as are missing."""
        figures = finding.figures
        return {
            "_id": f"repair:{new_id()}",
            "stock_id": finding.stock_id,
            "quantity": max(figures.held - figures.moved, 0),
            "kind": "repair",
            "reason": reason,
            "actor": actor,
            "at": self._clock(),
            "repair": {
                "available": {"was": figures.available, "is": max(figures.moved - figures.held, 0)},
                "reserved": {"was": figures.reserved, "is": figures.held},
                "because": list(finding.because),
            },
        }


def _set(changes: Changes, finding: Finding, movement: Doc, level: Level) -> list[NewEvent]:
    """Adds the repair to the transaction; answers what is to be told of it."""
    figures, repair = finding.figures, movement["repair"]
    available = repair["available"]["is"]
    low = Level(available, low_at=level.low_at).low_after(0)
    query: Doc = {"_id": finding.stock_id, "available": figures.available, "reserved": figures.reserved}
    query |= {"low_at": level.low_at, "low": True if level.low else {"$ne": True}}
    update = {"available": available, "reserved": figures.held, "low": low}
    changes.update(STOCK, query, {"$set": update}, expect=1, name="stock to repair")
    changes.insert(MOVEMENTS, [movement])
    if low == level.low:
        return []
    return [stock.turned(finding.stock_id, available, level.low_at, low=low)]
