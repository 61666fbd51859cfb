"""Counts what happens to jobs, in the process, and writes it down seldom: no write per job.

Each process adds its counts to one small document per ten seconds that all share. What a process counted
since its last write is lost when it is killed: rates are figures to steer by, not books.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pymongo.errors import PyMongoError

from domain.changes import Database
from domain.jobs.commands import pool_of
from domain.jobs.pool_models import SLOTS, slot_of
from domain.jobs.pool_rules import class_of
from domain.jobs.rules import CANCELLED, DEAD, FAILED
from domain.metrics import ARRIVALS, RUN_SECONDS
from domain.observe import logger
from domain.values import Clock

log = logger(__name__)

#: Seconds between two writes of a process that counts.
FLUSH_EVERY = 5.0
#: Slots that a process keeps while the store is away; what is older is dropped.
KEPT = 30


@dataclass(slots=True)
class _Busy:
    """How many of a pool's jobs this process has in hand, and since when it was last counted."""

    running: int = 0
    since: float = 0.0


class Meter:
    """Counts by pool. Belongs to one event loop."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._counts: dict[int, dict[str, defaultdict[str, float]]] = {}
        self._busy: defaultdict[str, _Busy] = defaultdict(_Busy)
        #: The pools that this process works for, its threads, and since when they are counted.
        self._present: tuple[Sequence[str], int] | None = None
        self._present_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    def arrived(self, kind: str, pool: str) -> None:
        """A job was accepted."""
        ARRIVALS.labels(kind).inc()
        self._add(pool, arrived=1)

    def ended(self, kind: str, state: str) -> None:
        """A job ended in this state, and stays so."""
        pool = pool_of(kind)
        if pool is None or state == CANCELLED:
            return
        self._add(pool, done=1, refused=int(state == FAILED), faults=int(state == DEAD))

    def retried(self, kind: str) -> None:
        """A run ended in a fault; another follows."""
        pool = pool_of(kind)
        if pool is not None:
            self._add(pool, faults=1)

    def batch(self, kind: str, *, size: int, seconds: float) -> None:
        """A batch of jobs of the kind was settled in one transaction, or could not be."""
        pool = pool_of(kind)
        if pool is not None:
            self._add(
                pool,
                batches=1,
                batched=size,
                batch_seconds=seconds,
                batch_squares=size * size,
                batch_products=size * seconds,
            )

    @contextmanager
    def running(self, pool: str) -> Iterator[None]:
        """A thread has a job of the pool in hand while it is open."""
        began = time.monotonic()
        self._shift(pool, 1)
        try:
            yield
        finally:
            seconds = time.monotonic() - began
            self._shift(pool, -1)
            RUN_SECONDS.labels(pool).observe(seconds)
            self._add(pool, runs=1, run_seconds=seconds, **{class_of(seconds): 1})

    def in_hand(self) -> Mapping[str, int]:
        """Jobs that this process has in hand, by pool."""
        return {pool: busy.running for pool, busy in self._busy.items() if busy.running}

    def works_for(self, pools: Sequence[str], *, threads: int) -> None:
        """Counts the process as one that works for the pools, with so many threads for all of them."""
        self._present_since = time.monotonic()
        self._present = (tuple(pools), threads)
        self._wake()

    async def flush(self) -> None:
        """Writes down what was counted. What cannot be written is kept for the next time."""
        self._count_time()
        counts, self._counts = self._counts, {}
        for slot, pools in sorted(counts.items()):
            added = {
                f"pools.{pool}.{name}": value
                for pool, counted in pools.items()
                for name, value in counted.items()
                if value
            }
            if not added:
                continue
            try:
                await self._database[SLOTS].update_one({"_id": slot}, {"$inc": added}, upsert=True)
            except PyMongoError as error:
                self._keep({slot: pools})
                log.debug("the pools' counts could not be written", error=str(error))

    async def drain(self) -> None:
        """Writes down the last counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.gather(*self._flushing)
        await self.flush()

    def _add(self, pool: str, **counts: float) -> None:
        slot = slot_of(self._clock())
        counted = self._counts.setdefault(slot, {}).setdefault(pool, defaultdict(float))
        for name, count in counts.items():
            counted[name] += count
        self._wake()

    def _wake(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_EVERY, self._begin_flush)

    def _begin_flush(self) -> None:
        self._timer = None
        task = asyncio.create_task(self.flush())
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)
        # A worker is counted while it idles, too; anybody else has nothing to say then.
        if self._present is not None or self.in_hand():
            self._wake()

    def _shift(self, pool: str, by: int) -> None:
        self._count_busy(pool)
        self._busy[pool].running += by

    def _count_time(self) -> None:
        """Adds the time since the last look: of threads that are busy, of threads and processes that are."""
        for pool in list(self._busy):
            self._count_busy(pool)
        if self._present is None:
            return
        now = time.monotonic()
        seconds, self._present_since = now - self._present_since, now
        pools, threads = self._present
        for pool in pools:
            self._add(pool, worker_seconds=seconds, thread_seconds=seconds * threads)

    def _count_busy(self, pool: str) -> None:
        busy, now = self._busy[pool], time.monotonic()
        if busy.running:
            self._add(pool, busy_seconds=busy.running * (now - busy.since))
        busy.since = now

    def _keep(self, counts: Mapping[int, Mapping[str, Mapping[str, float]]]) -> None:
        for slot, pools in counts.items():
            kept = self._counts.setdefault(slot, {})
            for pool, counted in pools.items():
                into = kept.setdefault(pool, defaultdict(float))
                for name, count in counted.items():
                    into[name] += count
        for old in sorted(self._counts)[:-KEPT]:
            del self._counts[old]
