"""The pools' queues as ops see them: how much waits, who works, and pauses."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Database, Doc
from domain.control.models import CHANNEL, SWITCHES
from domain.control.processes import Processes
from domain.control.rules import WORKER
from domain.errors import NotFound
from domain.jobs.commands import kinds, pools
from domain.jobs.service import Jobs
from domain.ports import JobQueue, PubSub, QueueDepth
from domain.values import Clock

#: Seconds for which a process goes by the pauses that it knows, where it does not matter to the second.
FRESH = 2.0


@dataclass(frozen=True, slots=True)
class PoolQueue:
    """One pool's queue."""

    pool: str
    #: None while RabbitMQ is away, and before anything was sent to the pool.
    depth: QueueDepth | None
    #: When the job that has waited longest was accepted.
    oldest_at: datetime | None
    paused: Doc | None
    #: Worker processes that live, those of them that are drained or on the way to it, and their jobs.
    workers: int
    draining: int
    in_hand: int


def known_pool(pool: str) -> str:
    """Raises NotFound where there is no such pool."""
    if pool not in pools():
        raise NotFound(pool=pool)
    return pool


class Queues:
    """Pausing and resuming pools. Jobs of a paused pool are accepted, and wait; no message is held."""

    def __init__(
        self,
        *,
        database: Database,
        queue: JobQueue,
        jobs: Jobs,
        processes: Processes,
        pubsub: PubSub,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._switches = database[SWITCHES]
        self._queue = queue
        self._jobs = jobs
        self._processes = processes
        self._pubsub = pubsub
        self._audit_log = audit_log
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._known_until = float("-inf")

    async def paused(self) -> frozenset[str]:
        """The pools that are paused, as the store says now."""
        rows = self._switches.find({"paused": {"$ne": None}}, {"_id": 1})
        self._known = frozenset([str(row["_id"]) async for row in rows])
        self._known_until = monotonic() + FRESH
        return self._known

    async def lately_paused(self) -> frozenset[str]:
        """As `paused`, at most 2 s old."""
        return self._known if monotonic() < self._known_until else await self.paused()

    async def find(self, pool: str | None = None) -> list[PoolQueue]:
        """All pools' queues, or the one's. Raises NotFound."""
        wanted = [known_pool(pool)] if pool else pools()
        switches = {str(row["_id"]): row["paused"] async for row in self._switches.find({})}
        seen = [each for each in await self._processes.find() if each.process["role"] == WORKER]
        alive = [each for each in seen if each.state != "lost"]
        depths = await asyncio.gather(*(self._queue.depth(name) for name in wanted))
        in_hand = _in_hand([each.process for each in alive])
        return [
            PoolQueue(
                pool=name,
                depth=depth,
                oldest_at=await self._jobs.oldest(name),
                paused=switches.get(name),
                workers=sum(name in each.process["pools"] for each in alive),
                draining=sum(name in each.process["pools"] for each in alive if each.state != "working"),
                in_hand=in_hand[name],
            )
            for name, depth in zip(wanted, depths, strict=True)
        ]

    async def pause(self, pool: str, *, by: Actor, reason: str | None = None) -> PoolQueue:
        """No worker takes a job of the pool until it is resumed; what they have in hand goes on.

        It holds for workers that start later, too. Idempotent: a second pause keeps the first one's facts.
        Raises NotFound.
        """
        order = {"by": by.id, "at": self._clock(), "reason": reason}
        return await self._switch("pause", pool, order, by=by, reason=reason)

    async def resume(self, pool: str, *, by: Actor, reason: str | None = None) -> PoolQueue:
        """The pool's workers take jobs again. Idempotent. Raises NotFound."""
        return await self._switch("resume", pool, None, by=by, reason=reason)

    async def _switch(
        self, verb: str, pool: str, order: Doc | None, *, by: Actor, reason: str | None
    ) -> PoolQueue:
        row = await self._switches.find_one({"_id": known_pool(pool)})
        was = row is not None and row["paused"] is not None
        if was != (order is not None):
            entry = Entry(by, f"queues.{verb}", "queue", pool, reason=reason, before={"paused": was})
            async with self._audit_log.acting(entry) as act:
                await self._switches.update_one({"_id": pool}, {"$set": {"paused": order}}, upsert=True)
                act.after = {"paused": order is not None}
            await self._pubsub.publish([(CHANNEL, pool)])
        (found,) = await self.find(pool)
        return found


def _in_hand(workers: Sequence[Doc]) -> Counter[str]:
    """Jobs in hand by pool."""
    known = kinds()
    begun = [job["kind"] for worker in workers for job in worker["jobs"]]
    return Counter(known[kind].pool for kind in begun if kind in known)
