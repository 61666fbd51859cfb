"""The timetable as ops see it: how its entries ran, and runs that are asked for."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Database, Doc
from domain.control.errors import NobodyLeads
from domain.control.models import CHANNEL, RUNS_ASKED, TIMETABLE
from domain.control.processes import Processes
from domain.control.rules import ASKED, DONE, FAILED, OPEN, RUNNING, WITHDRAWN, next_run
from domain.errors import NotFound
from domain.ports import PubSub
from domain.values import Clock, new_id

#: Runs that ops asked for are kept for so long.
KEPT = timedelta(days=1)
#: Seconds between two looks of somebody who waits for a run.
LOOK = 0.2
_ONE = "timetable"


@dataclass(frozen=True, slots=True)
class EntrySeen:
    """One entry of the timetable."""

    slug: str
    entry: Doc
    next_at: datetime | None


class Timetables:
    """Kept by whoever leads; read and steered by ops."""

    def __init__(
        self,
        *,
        database: Database,
        pubsub: PubSub,
        processes: Processes,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._rows = database[TIMETABLE]
        self._asked = database[RUNS_ASKED]
        self._pubsub = pubsub
        self._processes = processes
        self._audit_log = audit_log
        self._clock = clock

    # -- as the leader --

    async def note(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Keeps how entries ran, by their slugs, in one write."""
        fields = {f"entries.{slug}": form for slug, form in entries.items()}
        await self._rows.update_one({"_id": _ONE}, {"$set": fields}, upsert=True)

    async def forget_others(self, slugs: frozenset[str]) -> None:
        """Drops entries that are in the timetable no more."""
        known = await self._entries()
        gone = {f"entries.{slug}": "" for slug in known.keys() - slugs}
        if gone:
            await self._rows.update_one({"_id": _ONE}, {"$unset": gone})

    async def take_asked(self) -> list[Doc]:
        """Runs that somebody waits for, now taken up by the caller alone."""
        taken = []
        for row in await self._asked.find({"state": ASKED}).sort("_id").to_list():
            update = {"$set": {"state": RUNNING, "began_at": self._clock()}}
            mine = await self._asked.update_one({"_id": row["_id"], "state": ASKED}, update)
            if mine.matched_count:
                taken.append(row)
        return taken

    async def ended(self, run_id: str, *, result: int | None, error: str | None) -> None:
        """Says how an asked run ended."""
        fields = {"state": FAILED if error else DONE, "ended_at": self._clock()}
        update = {"$set": {**fields, "result": result, "error": error}}
        await self._asked.update_one({"_id": run_id, "state": RUNNING}, update)

    async def sweep(self) -> int:
        """Deletes runs that were asked for long ago; answers how many."""
        old = {"asked_at": {"$lt": self._clock() - KEPT}}
        return (await self._asked.delete_many(old)).deleted_count

    # -- as ops --

    async def find(self) -> list[EntrySeen]:
        """All entries, by name; none where no scheduler has ever led."""
        entries = await self._entries()
        return [EntrySeen(slug, entry, next_run(entry)) for slug, entry in sorted(entries.items())]

    async def leader(self) -> Doc | None:
        """The process that leads; None where none that lives says so."""
        for seen in await self._processes.find():
            if seen.process.get("leads") and seen.state != "lost":
                return seen.process
        return None

    async def run(self, slug: str, *, by: Actor, seconds: float, reason: str | None = None) -> Doc:
        """Has the leader run an entry now, and answers how that ended, or stands after `seconds`.

        Harmless to repeat: every entry may run at any time. A run that nobody takes up in that time is
        withdrawn. Raises NotFound, and NobodyLeads.
        """
        if slug not in await self._entries():
            raise NotFound(entry=slug)
        run = {
            "_id": new_id(), "entry": slug, "by": by.id, "asked_at": self._clock(), "state": ASKED,
            "began_at": None, "ended_at": None, "result": None, "error": None,
        }  # fmt: skip
        async with self._audit_log.acting(Entry(by, "schedule.run", "entry", slug, reason=reason)) as act:
            await self._asked.insert_one(run)
            await self._pubsub.publish([(CHANNEL, slug)])
            found = await self._awaited(str(run["_id"]), seconds)
            act.after = {"state": found["state"], "result": found["result"], "error": found["error"]}
            if found["state"] == WITHDRAWN:
                raise NobodyLeads(entry=slug)
        return found

    async def _awaited(self, run_id: str, seconds: float) -> Doc:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (found := await self._run(run_id))["state"] in OPEN:  # noqa: ASYNC110 - the store is no event
                    await asyncio.sleep(LOOK)
                return found
        query = {"_id": run_id, "state": ASKED}
        await self._asked.update_one(query, {"$set": {"state": WITHDRAWN, "ended_at": self._clock()}})
        return await self._run(run_id)

    async def _run(self, run_id: str) -> Doc:
        found = await self._asked.find_one({"_id": run_id})
        if found is None:
            raise NotFound(run=run_id)
        return found

    async def _entries(self) -> dict[str, Doc]:
        row = await self._rows.find_one({"_id": _ONE})
        return dict(row["entries"]) if row else {}
