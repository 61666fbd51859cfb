"""One scheduler leads; the others wait for it to fall silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from domain.observe import logger
from domain.ports import Leadership

log = logger(__name__)


class Leader:
    """Whether this process leads, as of the last time it asked."""

    def __init__(self, leadership: Leadership, *, every: timedelta) -> None:
        self._leadership = leadership
        self._every = every.total_seconds()
        self.leads = False

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[None]:
        """Stands for the lead while it is open; lets another lead at once when it closes."""
        await self._ask()
        task = asyncio.create_task(self._keep_asking())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if self.leads:
                await self._leadership.resign()

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._ask()

    async def _ask(self) -> None:
        try:
            leads = await self._leadership.lead()
        except Exception:
            # Nobody can tell who leads: as while Redis is away, the timetable may run twice.
            log.exception("scheduler.leadership_unknown")
            leads = True
        if leads != self.leads:
            log.info("scheduler.leads" if leads else "scheduler.follows")
        self.leads = leads
