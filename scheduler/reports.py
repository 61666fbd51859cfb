"""The leader's part of what ops see and ask of the timetable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import pymongo
from pymongo.errors import PyMongoError

from domain.bootstrap import Services
from domain.control.attendance import Hints, beside, memory_bytes
from domain.control.models import CHANNEL
from domain.control.processes import Facts
from domain.control.rules import SCHEDULER, EntryRuns
from domain.observe import logger
from scheduler.leader import Leader
from scheduler.runs import Runs
from scheduler.schedule import Entry

log = logger(__name__)

#: Seconds between two writes of how entries ran: some run twice a second.
NOTE_EVERY = 5.0
#: Seconds between two looks for runs that ops ask for, where nobody tells of them.
LOOK = 2.0
#: Seconds that a last note may take at a stop.
FAREWELL = 1.0


class Reports:
    """Writes down how entries ran, a few seconds late and in one write, and runs what ops ask for."""

    def __init__(self, services: Services, runs: Runs, leader: Leader, entries: Sequence[Entry]) -> None:
        self._control = services.control
        self._runs = runs
        self._leader = leader
        self._entries = {entry.slug: entry for entry in entries}
        self._unwritten: set[str] = set()
        self._attendance = services.control.attendance(SCHEDULER, self._facts)
        self._led = False
        runs.ran = self._unwritten.add

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Reports while it is open; what has not been written yet is written at the end."""
        async with self._attendance.attending(), self._control.pubsub.subscribe(CHANNEL) as told:
            async with beside(self._keep_noting()), beside(self._keep_looking(Hints(told))):
                yield
            if self._leader.leads:
                with pymongo.timeout(FAREWELL):
                    await _tried(self.note())

    async def note(self) -> None:
        """Writes what has run since the last note; as a new leader, what the timetable has at all."""
        if not self._led:
            await self._control.timetables.forget_others(frozenset(self._entries))
            self._unwritten.update(self._entries)
        unwritten = set(self._unwritten)
        self._unwritten.clear()
        try:
            await self._control.timetables.note({slug: self._form(slug) for slug in unwritten})
        except PyMongoError:
            self._unwritten.update(unwritten)
            raise
        self._led = True

    async def serve(self) -> int:
        """Runs what ops ask for; answers how many runs."""
        asked = await self._control.timetables.take_asked()
        for row in asked:
            entry = self._entries.get(row["entry"])
            if entry is None:
                await self._control.timetables.ended(
                    row["_id"], result=None, error="this leader has no such entry"
                )
                continue
            told = await self._runs.now(entry)
            await self._control.timetables.ended(row["_id"], result=told.result, error=told.error)
        if asked:
            await self.note()
        return len(asked)

    def _facts(self) -> Facts:
        return Facts(memory_bytes=memory_bytes(), leads=self._leader.leads)

    def _form(self, slug: str) -> dict[str, object]:
        entry = self._entries[slug]
        told = self._runs.told.get(slug) or EntryRuns(entry.name, entry.every)
        return told.form(by=self._attendance.who.id)

    async def _keep_noting(self) -> None:
        while True:
            if self._leader.leads and (self._unwritten or not self._led):
                await _tried(self.note())
            self._led = self._led and self._leader.leads
            await asyncio.sleep(NOTE_EVERY)

    async def _keep_looking(self, hints: Hints) -> None:
        async with hints.listening():
            while True:
                if self._leader.leads:
                    await _tried(self.serve())
                await hints.wait(LOOK)


async def _tried(work: Awaitable[object]) -> None:
    try:
        await work
    except PyMongoError as error:
        log.info("scheduler.not_reported", error=type(error).__name__)
    except Exception:
        # Nothing may end the task that reports.
        log.exception("scheduler.report_failed")
