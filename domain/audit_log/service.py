"""Writing the audit log, and reading it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.audit_log.models import AUDIT_LOG, BEGUN, BUSY, DONE, FAILED, REFUSED, Acting, Entry, Outcome
from domain.changes import Changes, Database, Doc
from domain.errors import DomainError, TryAgain
from domain.values import Clock, new_id

#: Where the next page begins: the last entry's time and id.
Position = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries; None stands for any."""

    actor: str | None = None
    action: str | None = None
    thing: str | None = None
    thing_id: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: Position | None = None
    limit: int = 50


class AuditLog:
    """Every write of ops goes through one of `acting`, `record` and `ride`."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._rows = database[AUDIT_LOG]
        self._clock = clock

    @asynccontextmanager
    async def acting(self, entry: Entry) -> AsyncIterator[Acting]:
        """Stores the entry as `begun`, lets the act happen, and stores how it ended.

            async with services.audit_log.acting(entry) as act:
                act.after = shown(await services.queues.pause(pool))

        So nothing is done that the log does not know of. A DomainError ends the act as `refused`, TryAgain as
        `busy`, any other error as `failed`; all are raised again. One that is cut short is `failed`, too, as
        `interrupted`: it may have been done. Raises PyMongoError, and nothing was done, where the entry
        cannot be stored.
        """
        row = self._row(entry, BEGUN)
        await self._rows.insert_one(row)
        act = Acting(row["_id"], before=entry.before, after=entry.after)
        try:
            yield act
        except DomainError as error:
            await self._end(act, REFUSED, {"code": error.code, "detail": error.detail})
            raise
        except TryAgain as error:
            await self._end(act, BUSY, {"code": "try_again", "detail": {"reason": str(error)}})
            raise
        except asyncio.CancelledError:
            await self._end(act, FAILED, {"code": "interrupted", "detail": {}})
            raise
        except Exception as error:
            await self._end(act, FAILED, {"code": "internal", "detail": {"error": type(error).__name__}})
            raise
        await self._end(act, DONE, None)

    async def record(self, entry: Entry, *, outcome: Outcome = DONE) -> str:
        """Stores an act that has happened; answers the entry's id."""
        row = self._row(entry, outcome)
        await self._rows.insert_one(row)
        return str(row["_id"])

    def ride(self, changes: Changes, entry: Entry) -> None:
        """Adds the entry to the transaction that is the act: both happen, or neither."""
        changes.insert(AUDIT_LOG, [self._row(entry, DONE)])

    def _row(self, entry: Entry, outcome: Outcome) -> Doc:
        return {
            "_id": new_id(),
            "at": self._clock(),
            "actor": entry.actor.id,
            "via": entry.actor.via,
            "request_id": entry.actor.request_id,
            "action": entry.action,
            "thing": entry.thing,
            "thing_id": entry.thing_id,
            "reason": entry.reason,
            "outcome": outcome,
            "error": None,
            "before": entry.before,
            "after": entry.after,
        }

    async def _end(self, act: Acting, outcome: Outcome, error: dict[str, Any] | None) -> None:
        fields = {"outcome": outcome, "error": error, "before": act.before, "after": act.after}
        await self._rows.update_one({"_id": act.id, "outcome": BEGUN}, {"$set": fields})

    async def find(self, query: AuditQuery) -> list[Doc]:
        """Entries, newest first. Every filter but `thing` and `outcome` is served by an index."""
        wanted: Doc = {
            name: value
            for name, value in (
                ("actor", query.actor), ("action", query.action), ("thing", query.thing),
                ("thing_id", query.thing_id), ("outcome", query.outcome),
            )
            if value is not None
        }  # fmt: skip
        bounds: Doc = {}
        if query.since is not None:
            bounds["$gte"] = query.since
        if query.until is not None:
            bounds["$lt"] = query.until
        if bounds:
            wanted["at"] = bounds
        if query.before is not None:
            at, last = query.before
            wanted["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": last}}]
        rows = self._rows.find(wanted).sort([("at", -1), ("_id", -1)])
        return await rows.limit(query.limit).to_list()
