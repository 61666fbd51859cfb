"""The pools in figures and words: what waits, how fast it is worked off, and how many workers it takes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from domain.changes import Database, Doc
from domain.control.queues import PoolQueue, Queues, known_pool
from domain.jobs.fair_rules import HELD_FROM, turn_at
from domain.jobs.models import JOBS
from domain.jobs.pool_models import SLOT_SECONDS, SLOTS, TURNS, began, slot_of
from domain.jobs.pool_reports import Backlog, PoolReport, Windows, report
from domain.jobs.pool_rules import Flow, quantile
from domain.jobs.rules import QUEUED
from domain.settings import Pools as PoolSettings
from domain.values import Clock

#: Seconds for which a look at all pools serves all who ask.
FRESH = 2.0
#: Seconds past which a look at one pool took long.
LONG = 0.1
#: A look that took long serves this many times as long: it must not become a load of its own.
DEARNESS = 20.0
#: The longest time for which a look serves.
STALE = 60.0
#: Seconds by which processes are late with their counts.
LAG = 5
#: How long counts are kept.
KEPT = timedelta(hours=1, minutes=5)
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Minute:
    """What a pool did in one minute."""

    at: datetime
    arrived: float
    done: float
    faults: float
    mean_run: float | None
    p95_run: float | None
    busy: float | None
    workers: float


class Pools:
    """Looks at the pools. Figures of the last minute end 5 to 15 s ago: until then counts still come in."""

    def __init__(
        self, *, database: Database, queues: Queues, settings: PoolSettings, largest_batch: int, clock: Clock
    ) -> None:
        self._database = database
        self._queues = queues
        self._settings = settings
        self._largest_batch = largest_batch
        self._clock = clock
        self._looking = asyncio.Lock()
        self._found: list[PoolReport] = []
        self._fresh_until = float("-inf")
        #: Of pools that took long to look at, and until when it serves.
        self._dear: dict[str, tuple[PoolReport, float]] = {}

    async def look(self) -> list[PoolReport]:
        """Every pool. Raises PyMongoError where the store is away; a RabbitMQ that is away leaves gaps."""
        async with self._looking:
            if monotonic() >= self._fresh_until:
                begun = monotonic()
                self._found = await self._look(await self._queues.find())
                self._fresh_until = _serves_until(begun, least=FRESH)
        return list(self._found)

    async def look_at(self, pool: str) -> PoolReport:
        """The pool as of now, but where the last look at it took long. Raises as `look`, and NotFound."""
        async with self._looking:
            found, until = self._dear.get(pool, (None, float("-inf")))
            if found is None or monotonic() >= until:
                begun = monotonic()
                (found,) = await self._look(await self._queues.find(pool))
                self._dear.pop(pool, None)
                if monotonic() - begun > LONG:
                    self._dear[pool] = found, _serves_until(begun)
        return found

    async def history(self, pool: str) -> list[Minute]:
        """The pool's last hour, minute by minute, the oldest first. Raises NotFound."""
        known_pool(pool)
        end = self._end() // _MINUTE * _MINUTE
        slots = await self._slots(end - _HOUR, end)
        per_minute = _MINUTE // SLOT_SECONDS
        minutes = []
        for start in range(end - _HOUR, end, _MINUTE):
            slot_ids = range(start, start + per_minute * SLOT_SECONDS, SLOT_SECONDS)
            flow = Flow.of([slots.get(each, {}).get(pool, {}) for each in slot_ids], seconds=_MINUTE)
            minutes.append(_minute(began(start), flow))
        return minutes

    async def sweep(self) -> int:
        """Drops counts that nobody asks for any more; answers how many slots."""
        before = slot_of(self._clock() - KEPT)
        return (await self._database[SLOTS].delete_many({"_id": {"$lt": before}})).deleted_count

    async def _look(self, queues: Sequence[PoolQueue]) -> list[PoolReport]:
        end, now = self._end(), slot_of(self._clock()) + SLOT_SECONDS
        slots = await self._slots(end - _HOUR, now)
        reached = {str(row["_id"]): int(row["turn"]) async for row in self._database[TURNS].find({})}
        return [
            report(
                each.pool,
                await self._backlog(each, reached.get(each.pool, 0)),
                Windows(
                    recent=_flow(slots, each.pool, now, _MINUTE),
                    minute=_flow(slots, each.pool, end, _MINUTE),
                    five=_flow(slots, each.pool, end, 5 * _MINUTE),
                    hour=_flow(slots, each.pool, end, _HOUR),
                ),
                target=self._settings.target(each.pool),
                largest_batch=self._largest_batch,
            )
            for each in queues
        ]

    async def _backlog(self, queue: PoolQueue, reached: int) -> Backlog:
        oldest = queue.oldest_at
        for turn in (reached, reached + 1):
            query = {"pool": queue.pool, "state": QUEUED, "not_before": turn_at(turn)}
            held = await self._database[JOBS].find_one(query, {"created_at": 1})
            if held is not None:
                oldest = min(oldest or held["created_at"], held["created_at"])
        age = max(0.0, (self._clock() - oldest).total_seconds()) if oldest else 0.0
        return Backlog(
            ready=queue.depth.ready if queue.depth else None,
            in_ledger=await self._in_ledger(queue.pool) if oldest else 0,
            oldest=age,
            workers=queue.workers - queue.draining,
            in_flight=queue.in_hand,
            paused=queue.paused is not None,
        )

    async def _in_ledger(self, pool: str) -> int:
        """Jobs that nobody has sent, but for those whose next run has its time yet to come."""
        now = self._clock()
        query: Doc = {
            "pool": pool,
            "state": QUEUED,
            "dispatched_at": None,
            "$or": [{"not_before": {"$lte": now}}, {"not_before": {"$gte": HELD_FROM}}],
        }
        return await self._database[JOBS].count_documents(query)

    def _end(self) -> int:
        """The end of the last slot in which nobody counts any more."""
        return slot_of(self._clock() - timedelta(seconds=LAG))

    async def _slots(self, start: int, end: int) -> dict[int, Mapping[str, Mapping[str, float]]]:
        rows = self._database[SLOTS].find({"_id": {"$gte": start, "$lt": end}})
        return {int(row["_id"]): row["pools"] async for row in rows}


def _serves_until(begun: float, *, least: float = 0.0) -> float:
    """Until when a look serves that has just ended."""
    now = monotonic()
    return now + min(STALE, max(least, DEARNESS * (now - begun)))


def _flow(slots: Mapping[int, Mapping[str, Mapping[str, float]]], pool: str, end: int, seconds: int) -> Flow:
    wanted = [pools.get(pool, {}) for slot, pools in slots.items() if end - seconds <= slot < end]
    return Flow.of(wanted, seconds=seconds)


def _minute(at: datetime, flow: Flow) -> Minute:
    return Minute(
        at=at,
        arrived=flow.arrived,
        done=flow.done,
        faults=flow.faults,
        mean_run=flow.mean_run,
        p95_run=quantile(flow.spread, 0.95),
        busy=flow.busy,
        workers=flow.worker_seconds / flow.seconds,
    )
