"""Expired holds become `orders.expire` jobs, in batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.bootstrap import Services
from domain.jobs.rules import FINAL, SYSTEM
from domain.orders.commands import ExpireHolds
from domain.values import new_id

#: How long a batch may take before it is asked whether its job has ended.
PATIENCE = timedelta(seconds=10)


@dataclass(slots=True)
class Batch:
    """Holds that were handed to the workers, as which job, and when that was last looked at."""

    job_id: str
    hold_ids: frozenset[str]
    looked_at: datetime


class HoldExpiry:
    """Hands each expired hold over once. One whose job has ended without it is handed over again.

    Who leads next hands over what it finds, which does no harm.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._batches: list[Batch] = []

    async def run(self) -> int:
        """Enqueues what has expired since the last run; answers how many holds."""
        size = self._services.settings.scheduler.expire_batch
        await self._forget()
        handed = frozenset().union(*(batch.hold_ids for batch in self._batches))
        found = await self._services.holds.expired(limit=10 * size + len(handed))
        fresh = [hold_id for hold_id in found if hold_id not in handed]
        for start in range(0, len(fresh), size):
            await self._hand_over(fresh[start : start + size])
        return len(fresh)

    async def _hand_over(self, hold_ids: Iterable[str]) -> None:
        command = ExpireHolds(hold_ids=tuple(hold_ids))
        accepted = await self._services.jobs.submit(command, owner=SYSTEM, key=new_id())
        now = self._services.clock()
        self._batches.append(Batch(accepted.job_id, frozenset(command.hold_ids), now))

    async def _forget(self) -> None:
        """Drops the batches whose job has ended. Jobs of a pool that is down wait, and are not doubled."""
        now = self._services.clock()
        self._batches = [batch for batch in self._batches if await self._is_open(batch, now)]

    async def _is_open(self, batch: Batch, now: datetime) -> bool:
        if now - batch.looked_at < PATIENCE:
            return True
        batch.looked_at = now
        found = await self._services.signals.look(batch.job_id)
        return found is not None and found[1]["state"] not in FINAL
