"""Expired holds become `orders.expire` jobs, in batches."""

from datetime import datetime, timedelta

from domain.bootstrap import Services
from domain.jobs.rules import SYSTEM
from domain.orders.commands import ExpireHolds
from domain.values import new_id

#: Holds that were handed to the workers and have not ended after this are handed over again.
HAND_OVER_AGAIN = timedelta(seconds=10)


class HoldExpiry:
    """Hands each expired hold over once; who leads next may do so again, which does no harm."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._handed: dict[str, datetime] = {}

    async def run(self) -> int:
        """Enqueues what has expired since the last run; answers how many holds."""
        batch = self._services.settings.scheduler.expire_batch
        self._forget()
        found = await self._services.holds.expired(limit=10 * batch + len(self._handed))
        fresh = [hold_id for hold_id in found if hold_id not in self._handed]
        for start in range(0, len(fresh), batch):
            await self._hand_over(fresh[start : start + batch])
        return len(fresh)

    async def _hand_over(self, hold_ids: list[str]) -> None:
        await self._services.jobs.submit(ExpireHolds(hold_ids=tuple(hold_ids)), owner=SYSTEM, key=new_id())
        now = self._services.clock()
        self._handed |= dict.fromkeys(hold_ids, now)

    def _forget(self) -> None:
        before = self._services.clock() - HAND_OVER_AGAIN
        self._handed = {hold_id: at for hold_id, at in self._handed.items() if at > before}
