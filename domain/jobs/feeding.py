"""Sends the jobs that wait for their turn, a few at a time, so that a pool's queue stays short."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from domain.changes import Changes, Database, Doc
from domain.jobs.acceptance import message_of
from domain.jobs.commands import pools
from domain.jobs.dispatch import Dispatcher
from domain.jobs.fair_rules import HELD_FROM, LEAST_ROOM, NEVER, next_room, turn_at, turn_of
from domain.jobs.models import JOBS
from domain.jobs.pool_models import TURNS
from domain.jobs.rules import QUEUED
from domain.metrics import FED
from domain.ports import JobQueue
from domain.settings import Jobs as JobSettings
from domain.values import Clock

#: Seconds between two looks at a pool that had nobody waiting for a turn.
SELDOM = 1.0
#: The most jobs of a pool that one look sends: other pools, and those who stop, wait for its end.
AT_ONCE = 256
#: Seconds between two looks over all turns, for those that a gap parts from the others.
SEARCH_EVERY = 10.0
#: The pause after such a look, in times that it took: the local store reads all that waits for it.
DEARNESS = 20.0
#: Passed turns that are looked at again with the first that has a job.
NEAR = 32
#: Seconds after which nobody gives a turn any more that has been passed; then it is looked at once again.
LATE = 2.0
#: Turns without a job after which nobody is taken to wait.
GAP = 3
#: Jobs that one update names.
PART = 50

_MESSAGE = {"kind": 1, "version": 1, "pool": 1, "request_id": 1, "traceparent": 1, "not_before": 1}


@dataclass(slots=True)
class _Pool:
    """Where the feeding of a pool is."""

    name: str
    #: The turn that is being sent; None before the first look.
    turn: int | None = None
    #: Turns that were passed, and when.
    passed: deque[tuple[int, float]] = field(default_factory=deque)
    room: int = LEAST_ROOM
    look_at: float = 0.0
    search_at: float = 0.0
    #: Whether somebody waited at the last look.
    busy: bool = False
    #: Turns that were passed long ago, and have a job all the same.
    missed: list[int] = field(default_factory=list)
    #: The first turn past a gap that has a job.
    ahead: int = 0


class Feeder:
    """Sends by turns. May run in several processes at once and do no harm.

    Turns are asked for one by one, by equality: the local store reads all that waits for a range. Only
    `search` asks for those, seldom and beside the sending.
    """

    def __init__(
        self,
        *,
        database: Database,
        queue: JobQueue,
        dispatcher: Dispatcher,
        settings: JobSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._queue = queue
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock
        self._pools: dict[str, _Pool] = {}

    async def feed(self) -> int:
        """Fills up each pool's queue from the jobs that wait for their turn; answers how many were sent."""
        now, count = time.monotonic(), 0
        for name in pools():
            pool = self._pools.setdefault(name, _Pool(name))
            if pool.look_at <= now:
                count += await self._feed(pool)
        return count

    async def _feed(self, pool: _Pool) -> int:
        if pool.turn is None:
            row = await self._database[TURNS].find_one({"_id": pool.name})
            pool.turn = int(row["turn"]) if row else 0
        if not await self._anybody(pool):
            pool.room, pool.look_at = LEAST_ROOM, time.monotonic() + SELDOM
            return 0
        depth = await self._queue.depth(pool.name)
        if depth is None:
            return await self._try_one(pool)
        pool.room = next_room(pool.room, ready=depth.ready)
        jobs = await self._take(pool, min(AT_ONCE, pool.room - depth.ready))
        await self._send(pool.name, jobs)
        return len(jobs)

    async def search(self) -> int:
        """Looks seldom over all turns for jobs that `feed` does not find; answers in how many pools some are.

        While many wait in a pool, those whose turn was passed: who was stopped in the middle of giving a
        turn, for however long, stores a job that nobody else would find before the others are done. Where
        nobody seems to wait, those past a gap. `feed` goes on meanwhile, and sends what was found.
        """
        count = 0
        for pool in list(self._pools.values()):
            if pool.turn is not None and time.monotonic() >= pool.search_at:
                count += await (self._passed_over(pool) if pool.busy else self._beyond_gap(pool))
        return count

    async def _passed_over(self, pool: _Pool) -> bool:
        upto = pool.passed[0][0] if pool.passed else pool.turn or 0
        first = await self._first(pool, before=turn_at(upto))
        if first is None:
            return False
        pool.missed += range(first, min(first + NEAR, upto))
        return True

    async def _beyond_gap(self, pool: _Pool) -> bool:
        """Finds the first turn that has a job, wherever that is. False where none has."""
        # The local store reads all that waits in every pool for a range, and for this what this pool has.
        queued = {"pool": pool.name, "state": QUEUED}
        if await self._database[JOBS].find_one(queued, {"_id": 1}) is None:
            pool.search_at = time.monotonic() + SEARCH_EVERY
            return False
        first, turn = await self._first(pool, before=NEVER), pool.turn or 0
        if first is None:
            return False
        if first < turn:
            pool.missed += range(first, min(first + NEAR, turn))
        else:
            pool.ahead = first
        return True

    async def _anybody(self, pool: _Pool) -> bool:
        """Whether somebody waits, as far as is known. Goes past a gap that `search` has seen."""
        pool.passed.extendleft((turn, float("-inf")) for turn in reversed(pool.missed))
        pool.missed = []
        pool.busy = bool(pool.passed or await self._peek(pool, 1))
        if not pool.busy and pool.ahead > (pool.turn or 0):
            pool.turn, pool.busy = pool.ahead, True
        return pool.busy

    async def _first(self, pool: _Pool, *, before: datetime) -> int | None:
        """The first turn with a job. Puts the next such look off by what this one took."""
        begun = time.monotonic()
        held = {"pool": pool.name, "state": QUEUED, "not_before": {"$gte": HELD_FROM, "$lt": before}}
        rows = await self._database[JOBS].find(held, {"not_before": 1}).sort("not_before").limit(1).to_list()
        ended = time.monotonic()
        pool.search_at = ended + max(SEARCH_EVERY, DEARNESS * (ended - begun))
        return next((turn_of(row["not_before"]) for row in rows), None)

    async def _peek(self, pool: _Pool, count: int) -> list[Doc]:
        """Jobs of this turn and the next few, at most so many. Passes no turn."""
        found: list[Doc] = []
        for turn in range(pool.turn or 0, (pool.turn or 0) + GAP):
            found = await self._at(pool, turn, count)
            if found:
                break
        return found

    async def _take(self, pool: _Pool, count: int) -> list[Doc]:
        """The jobs whose turn it is, at most so many; passes the turns that are empty by that."""
        jobs = await self._late(pool, count) if count > 0 else []
        before, empty = pool.turn or 0, 0
        turn = before
        while len(jobs) < count and empty < GAP:
            wanted = count - len(jobs)
            found = await self._at(pool, turn, wanted)
            jobs += found
            empty = 0 if found else empty + 1
            turn += 1
            if found:
                self._pass(pool, turn if len(found) < wanted else turn - 1)
        if pool.turn != before:
            update = {"$max": {"turn": pool.turn}}
            await self._database[TURNS].update_one({"_id": pool.name}, update, upsert=True)
        return jobs

    async def _late(self, pool: _Pool, count: int) -> list[Doc]:
        """What came to turns after they were passed: who gives turns knows of the passing a little later."""
        jobs: list[Doc] = []
        while pool.passed and pool.passed[0][1] + LATE < time.monotonic() and len(jobs) < count:
            turn, _ = pool.passed[0]
            wanted = count - len(jobs)
            found = await self._at(pool, turn, wanted)
            jobs += found
            if len(found) < wanted:
                pool.passed.popleft()
        return jobs

    @staticmethod
    def _pass(pool: _Pool, turn: int) -> None:
        """The turn is the next to be sent, or is being sent; those before it were."""
        now = time.monotonic()
        pool.passed.extend((passed, now) for passed in range(pool.turn or 0, turn))
        pool.turn = turn

    async def _at(self, pool: _Pool, turn: int, count: int) -> list[Doc]:
        query = {"pool": pool.name, "state": QUEUED, "not_before": turn_at(turn)}
        return await self._database[JOBS].find(query, _MESSAGE).sort("_id").limit(count).to_list()

    async def _send(self, pool: str, jobs: list[Doc]) -> None:
        """Notes jobs as sent, then sends them: a worker that is fast finds nobody at work on its jobs.

        What dies in between, or is not confirmed, is found as any such job is.
        """
        now = self._clock()
        sent = {"$set": {"dispatched_at": now, "not_before": now + self._settings.resend_after}}
        for start in range(0, len(jobs), PART):
            part = jobs[start : start + PART]
            query = {
                "_id": {"$in": [job["_id"] for job in part]},
                "state": QUEUED,
                "not_before": {"$gte": HELD_FROM},
            }
            await Changes.of(JOBS, query, sent).commit(self._database)
            await asyncio.gather(*(self._dispatcher.send(message_of(job)) for job in part))
        FED.labels(pool).inc(len(jobs))

    async def _try_one(self, pool: _Pool) -> int:
        """Where nobody can say how long the queue is: there may be none, and a message makes one."""
        jobs = await self._peek(pool, 1)
        query = {"state": QUEUED, "not_before": {"$gte": HELD_FROM}}
        return await self._dispatcher.send_again([message_of(job) for job in jobs], found_by=query)
