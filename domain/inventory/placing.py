"""The batch that takes stock: concurrent jobs, one read, one decision each, one transaction for all.

Orders and reservations are placed by the same engine; they differ in what a job wants, what else has to be
read, and what is decided. Decisions are pure and are taken in the order of the jobs' ids.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc, GuardFailed, store_is_away
from domain.errors import TryAgain
from domain.events.models import NewEvent
from domain.events.rules import cursor_lock
from domain.events.service import Events
from domain.inventory import stock
from domain.inventory.allocation import Allocation
from domain.inventory.holds import Holds, pause_before
from domain.inventory.news import numbered
from domain.inventory.rules import Shelf, lock_key
from domain.jobs.meter import Meter
from domain.jobs.running import JobRuns
from domain.metrics import BATCH_RETRIES, BATCH_SIZE
from domain.observe import logger
from domain.ports import Locks
from domain.values import Clock, new_id

log = logger(__name__)

#: How often a batch looks again when somebody else was first, before its jobs go back to the ledger.
TRIES = 8

Facts = TypeVar("Facts")


@dataclass(slots=True)
class Decision:
    """What becomes of one job: how it ends, and what is written with its end."""

    job: Doc
    ending: Mapping[str, Any]
    inserts: Mapping[str, Doc] = field(default_factory=dict)
    events: Sequence[NewEvent] = ()
    #: SKUs that were missing, or uses of discounts: reason to look for expired holds before it is final.
    short: Sequence[str] = ()
    #: Adds guards of its own to the transaction.
    guard: Callable[[Changes], None] | None = None


@dataclass(frozen=True, slots=True)
class Placement(Generic[Facts]):
    """What one kind of job brings to the engine."""

    name: str
    #: The kind of its jobs. A message may name a job of another: such a job is left alone.
    kind: str
    #: Units by SKU that the job takes from stock.
    wants: Callable[[Doc], Counter[str]]
    #: What else has to be read for the batch, in one go.
    read: Callable[[Sequence[Doc]], Awaitable[Facts]]
    #: Decides one job; takes its units off the shelf when it fits.
    decide: Callable[[Doc, Facts, Shelf, datetime], Decision]
    #: Adds to the batch's transaction what its decisions have taken together; answers events to record.
    add: Callable[[Facts, Changes, datetime], Sequence[NewEvent]] | None = None
    #: What the job competes for beside its stock.
    locks: Callable[[Doc], Iterable[str]] = lambda _: ()


@dataclass(frozen=True, slots=True)
class _Seen(Generic[Facts]):
    """What one look at a batch found, and what was decided on it."""

    decisions: Sequence[Decision]
    facts: Facts
    shelf: Shelf
    cursors: Mapping[str, int]


class Placing(Generic[Facts]):
    """Settles jobs of one kind in batches."""

    def __init__(
        self,
        placement: Placement[Facts],
        *,
        database: Database,
        runs: JobRuns,
        events: Events,
        holds: Holds,
        allocation: Allocation,
        meter: Meter,
        locks: Locks,
        clock: Clock,
        max_batch: int,
        gate: asyncio.Lock | None = None,
    ) -> None:
        #: How its jobs are read and decided.
        self.placement = placement
        self._database = database
        self._runs = runs
        self._events = events
        self._holds = holds
        self._allocation = allocation
        self._meter = meter
        self._locks = locks
        self._clock = clock
        observe = BATCH_SIZE.labels(placement.name).observe
        self._batches: Batcher[str, None] = Batcher(
            self._apply, max_size=max_batch, observe=observe, gate=gate
        )

    async def settle(self, job_id: str) -> None:
        """Settles the job with its effect. A job that is settled already is left as it is.

        Raises TryAgain where others kept taking the same stock, and PyMongoError where the store is away.
        """
        await self._batches.submit(job_id)

    async def drain(self) -> None:
        """Returns when the batch in hand is done."""
        await self._batches.drain()

    async def _apply(self, job_ids: list[str]) -> list[BaseException | None]:
        began = time.monotonic()
        try:
            return await self._settle_all(job_ids)
        finally:
            seconds = time.monotonic() - began
            self._meter.batch(self.placement.kind, size=len(job_ids), seconds=seconds)

    async def _settle_all(self, job_ids: list[str]) -> list[BaseException | None]:
        try:
            await self._settle(job_ids)
        except TryAgain:
            if len(job_ids) == 1:
                raise
            return await self._one_by_one(job_ids)
        except Exception as error:
            if len(job_ids) == 1 or store_is_away(error):
                raise
            log.exception("a batch failed; its jobs are tried one by one", batch=self.placement.name)
            return await self._one_by_one(job_ids)
        return [None] * len(job_ids)

    async def _one_by_one(self, job_ids: list[str]) -> list[BaseException | None]:
        results: list[BaseException | None] = []
        for job_id in job_ids:
            try:
                await self._settle([job_id])
                results.append(None)
            except Exception as error:  # noqa: BLE001 - handed to the one caller whose job it is
                results.append(error)
        return results

    async def _settle(self, job_ids: Sequence[str]) -> None:
        for tried in range(TRIES):
            await pause_before(tried)
            jobs = await self._runs.queued(job_ids, kind=self.placement.kind)
            if not jobs:
                return
            keys = {lock_key(sku) for job in jobs for sku in self.placement.wants(job)}
            keys |= {cursor_lock(job["owner"]) for job in jobs}
            keys |= {key for job in jobs for key in self.placement.locks(job)}
            async with self._locks.hold(sorted(keys)):
                if await self._try(jobs):
                    return
            BATCH_RETRIES.labels(self.placement.name).inc()
        msg = "others kept taking the same stock"
        raise TryAgain(msg, seconds=0.5)

    async def _try(self, jobs: Sequence[Doc]) -> bool:
        skus = sorted({sku for job in jobs for sku in self.placement.wants(job)})
        seen = await self._look(jobs, skus)
        while (short := _short(seen.decisions)) and await self._holds.reclaim(short):
            seen = await self._look(jobs, skus)
        return await self._write(seen)

    async def _look(self, jobs: Sequence[Doc], skus: Sequence[str]) -> "_Seen[Facts]":
        owners = [job["owner"] for job in jobs]
        shelf, facts, cursors = await asyncio.gather(
            self._allocation.shelf(skus), self.placement.read(jobs), self._events.cursors(owners)
        )
        now = self._clock()
        decisions = [self.placement.decide(job, facts, shelf, now) for job in jobs]
        return _Seen(decisions, facts, shelf, cursors)

    async def _write(self, seen: "_Seen[Facts]") -> bool:
        """One transaction for all decisions; False where somebody else was first."""
        changes, now, decisions = Changes(), self._clock(), seen.decisions
        settled: list[Doc] = []
        batch = {"id": new_id(), "size": len(decisions)}
        for ending, jobs in _by_ending(decisions):
            settled += self._runs.settle(changes, jobs, ending, at=now, batch=batch)
        for decision in decisions:
            if decision.guard is not None:
                decision.guard(changes)
        events = [
            replace(event, job_id=decision.job["_id"]) for decision in decisions for event in decision.events
        ]
        if self.placement.add is not None:
            events += self.placement.add(seen.facts, changes, now)
        events += stock.take(changes, seen.shelf.taken, seen.shelf.levels)
        for decision in decisions:
            for collection, document in decision.inserts.items():
                changes.insert(collection, [document])
        async with numbered(events, seen.cursors, events=self._events, locks=self._locks) as numbers:
            recorded = self._events.record(changes, events, cursors=numbers, at=now)
            try:
                await changes.commit(self._database)
            except GuardFailed:
                return False
        self._events.publish(recorded)
        self._runs.settled(settled)
        return True


def _short(decisions: Sequence[Decision]) -> list[str]:
    return sorted({sku for decision in decisions for sku in decision.short})


def _by_ending(decisions: Sequence[Decision]) -> list[tuple[Mapping[str, Any], list[Doc]]]:
    """Jobs grouped by how they end: one update serves a group."""
    groups: dict[str, tuple[Mapping[str, Any], list[Doc]]] = {}
    for decision in decisions:
        groups.setdefault(repr(decision.ending), (decision.ending, []))[1].append(decision.job)
    return list(groups.values())
