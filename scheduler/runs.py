"""Runs of the timetable's entries, and whether they still happen."""

import asyncio
import time
from datetime import timedelta

from domain.observe import logger
from scheduler.leader import Leader
from scheduler.schedule import Entry

log = logger(__name__)

#: An entry that has been at work or overdue for longer makes the probe fail.
SILENCE = timedelta(seconds=60)
#: Seconds that a stop gives what runs: with it, and the store away, a stop takes less than the 5 s of honcho.
FINISH = 1.5


class Runs:
    """Runs entries while this process leads, and remembers when each was last done."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self._done: dict[str, float] = {}
        self._every: dict[str, timedelta] = {}
        self._running: set[asyncio.Task[None]] = set()

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
        try:
            if self._leader.leads:
                await entry.verb()
        except Exception as error:  # noqa: BLE001 - the next round tries again
            log.warning("scheduler.entry_failed", entry=entry.name, error=f"{type(error).__name__}: {error}")

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
