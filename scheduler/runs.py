"""Runs of the timetable's entries, and whether they still happen."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from domain.control.rules import EntryRuns
from domain.observe import logger
from domain.values import Clock, utcnow
from scheduler.leader import Leader
from scheduler.schedule import Entry

log = logger(__name__)

#: An entry that has been at work or overdue for longer makes the probe fail.
SILENCE = timedelta(seconds=60)
#: Seconds that a stop gives what runs: with it, and the store away, a stop takes less than the 5 s of honcho.
FINISH = 1.5
#: The longest text of a fault that is kept.
TEXT_LIMIT = 500


class Runs:
    """Runs entries while this process leads, never one twice at once, and remembers how it went."""

    def __init__(self, leader: Leader, *, clock: Clock = utcnow) -> None:
        self._leader = leader
        self._clock = clock
        self._done: dict[str, float] = {}
        self._every: dict[str, timedelta] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        #: How each entry ran, by its slug.
        self.told: dict[str, EntryRuns] = {}
        #: Called with the slug of what has run.
        self.ran: Callable[[str], None] = lambda _slug: None

    async def run(self, entry: Entry) -> None:
        """Runs the entry's verb. What goes wrong is logged: the next round tries again."""
        self._every[entry.name] = entry.every
        self._done.setdefault(entry.name, time.monotonic())
        task = asyncio.create_task(self._once(entry))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait([task])
        self._done[entry.name] = time.monotonic()

    async def _once(self, entry: Entry) -> None:
        if self._leader.leads:
            await self.now(entry)

    async def now(self, entry: Entry) -> EntryRuns:
        """Runs the entry whoever leads, after a run of it that is under way. Answers how that went."""
        told = self.told.setdefault(entry.slug, EntryRuns(entry.name, entry.every))
        async with self._turns.setdefault(entry.slug, asyncio.Lock()):
            began, result, error = self._clock(), None, None
            try:
                result = await entry.verb()
            except Exception as fault:  # noqa: BLE001 - the next round tries again
                error = f"{type(fault).__name__}: {fault}"[:TEXT_LIMIT]
                log.warning("scheduler.entry_failed", entry=entry.name, error=error)
            told.ran(began_at=began, ended_at=self._clock(), result=result, error=error)
        self.ran(entry.slug)
        return told

    async def finish(self, *, seconds: float = FINISH) -> None:
        """Returns once nothing runs; what takes longer is cut short, and done again by the next leader."""
        if not self._running:
            return
        _, late = await asyncio.wait(set(self._running), timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            log.info("scheduler.entries_cut_short", entries=len(late))
            await asyncio.wait(late)

    def problems(self, *, silence: timedelta = SILENCE) -> list[str]:
        """Entries that have not been done for longer than they may; nothing when all is well."""
        now = time.monotonic()
        return [
            f"`{name}` has not been done for {now - done:.0f} s"
            for name, done in list(self._done.items())
            if now - done > (silence + self._every[name]).total_seconds()
        ]
