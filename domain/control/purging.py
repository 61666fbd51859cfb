"""Emptying a pool: what waits is cancelled in the ledger, so that nothing vanishes (P7)."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Changes, Database, Doc
from domain.control.queues import known_pool
from domain.errors import Conflict, NotFound, TryAgain
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED
from domain.jobs.service import Jobs
from domain.ports import JobQueue
from domain.values import Clock

#: Jobs that one purge cancels at most; called again, it goes on.
MOST = 1000
#: Cancels at the same time.
TOGETHER = 8
#: Jobs of which a dry run shows the ids.
SAMPLE = 10
_EVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did, or would do."""

    pool: str
    kind: str | None
    #: Jobs that were cancelled; in a dry run those that would be, by kind.
    cancelled: int
    by_kind: dict[str, int]
    #: Jobs that a worker began meanwhile.
    refused: int
    #: Whether more than this purge may cancel still waits.
    more: bool
    #: Messages that were dropped from RabbitMQ; None where it was not asked to, or is away.
    dropped: int | None = None
    sample: list[str] = field(default_factory=list)

    def then(self, more: Self) -> Self:
        """A purge and the one after it, as one."""
        kinds = Counter(self.by_kind) + Counter(more.by_kind)
        return replace(
            more,
            cancelled=self.cancelled + more.cancelled,
            refused=self.refused + more.refused,
            by_kind=dict(kinds),
        )


class Purging:
    """Cancels what waits in a pool's queue."""

    def __init__(
        self, *, database: Database, queue: JobQueue, jobs: Jobs, audit_log: AuditLog, clock: Clock
    ) -> None:
        self._database = database
        self._queue = queue
        self._jobs = jobs
        self._audit_log = audit_log
        self._clock = clock

    async def look(self, pool: str, *, kind: str | None = None) -> Purged:
        """What `purge` would cancel now. Changes nothing. Raises NotFound for an unknown pool."""
        rows, more = await self._waiting(pool, kind)
        sample = [str(row["_id"]) for row in rows[:SAMPLE]]
        by_kind = dict(Counter(str(row["kind"]) for row in rows))
        return Purged(pool, kind, len(rows), by_kind, refused=0, more=more, sample=sample)

    async def purge(
        self, pool: str, *, by: Actor, kind: str | None = None, reason: str | None = None
    ) -> Purged:
        """Cancels the pool's queued jobs, or those of one kind, up to 1,000; then drops their messages.

        Jobs that were begun and wait for another run are left: they may have had an effect. What is accepted
        meanwhile is not lost: it is cancelled, or sent again. May be repeated until there is no `more`.
        Raises NotFound for an unknown pool.
        """
        entry = Entry(by, "queues.purge", "queue", known_pool(pool), reason=reason, before={"kind": kind})
        async with self._audit_log.acting(entry) as act:
            rows, more = await self._waiting(pool, kind)
            cancelled = await self._cancel(rows, by=by.id, reason=reason)
            dropped = None if more or kind else await self._drop(pool)
            by_kind = dict(Counter(str(row["kind"]) for row in cancelled))
            refused = len(rows) - len(cancelled)
            act.after = {"cancelled": len(cancelled), "by_kind": by_kind, "dropped": dropped}
        return Purged(pool, kind, len(cancelled), by_kind, refused, more, dropped)

    async def _waiting(self, pool: str, kind: str | None) -> tuple[list[Doc], bool]:
        """Queued jobs that nobody has begun, as far as one purge takes them; and whether there are more."""
        query: Doc = {"pool": known_pool(pool), "state": QUEUED, "not_before": {"$gt": _EVER}}
        query |= {"attempt_id": None} | ({"kind": kind} if kind else {})
        rows = self._database[JOBS].find(query, {"kind": 1}).sort("not_before").limit(MOST + 1)
        found = await rows.to_list()
        return found[:MOST], len(found) > MOST

    async def _cancel(self, rows: Sequence[Doc], *, by: str, reason: str | None) -> list[Doc]:
        gate = asyncio.Semaphore(TOGETHER)

        async def cancel(row: Doc) -> bool:
            async with gate:
                try:
                    await self._jobs.cancel(row["_id"], owner=None, by=by, reason=reason or "purged")
                except (Conflict, NotFound, TryAgain):
                    return False
                return True

        done = await asyncio.gather(*(cancel(row) for row in rows))
        return [row for row, yes in zip(rows, done, strict=True) if yes]

    async def _drop(self, pool: str) -> int | None:
        """Drops the pool's messages. Those of jobs that still wait are sent again by the relay, at once."""
        dropped = await self._queue.purge(pool)
        now = self._clock()
        if dropped:
            query = {
                "pool": pool,
                "state": QUEUED,
                "not_before": {"$gt": now},
                "dispatched_at": {"$lte": now},
            }
            unsent = {"$set": {"dispatched_at": None, "not_before": now}}
            await Changes.of(JOBS, query, unsent).commit(self._database)
        return dropped
