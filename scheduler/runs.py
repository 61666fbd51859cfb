"""Runs of the timetable's entries, and whether they still happen."""

import time
from datetime import timedelta

from domain.observe import logger
from scheduler.leader import Leader
from scheduler.schedule import Entry

log = logger(__name__)

#: An entry that has been at work or overdue for longer makes the probe fail.
SILENCE = timedelta(seconds=60)


class Runs:
    """Runs entries while this process leads, and remembers when each was last done."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self._done: dict[str, float] = {}
        self._every: dict[str, timedelta] = {}

    async def run(self, entry: Entry) -> None:
        """Runs the entry's verb. What goes wrong is logged: the next round tries again."""
        self._every[entry.name] = entry.every
        self._done.setdefault(entry.name, time.monotonic())
        try:
            if self._leader.leads:
                await entry.verb()
        except Exception as error:  # noqa: BLE001 - the next round tries again
            log.warning("scheduler.entry_failed", entry=entry.name, error=f"{type(error).__name__}: {error}")
        self._done[entry.name] = time.monotonic()

    def problems(self, *, silence: timedelta = SILENCE) -> list[str]:
        """Entries that have not been done for longer than they may; nothing when all is well."""
        now = time.monotonic()
        return [
            f"`{name}` has not been done for {now - done:.0f} s"
            for name, done in list(self._done.items())
            if now - done > (silence + self._every[name]).total_seconds()
        ]
