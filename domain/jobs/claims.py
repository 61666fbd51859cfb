"""Claims of jobs that run one by one: many are taken off the queue in one write, for a lease's time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from pymongo.errors import PyMongoError

from domain.batching import Batcher
from domain.changes import Changes, Database, store_is_away
from domain.jobs.models import JOBS, Claimed
from domain.jobs.outcomes import claimed
from domain.jobs.rules import QUEUED, RUNNING, step
from domain.metrics import BATCH_SIZE
from domain.settings import Jobs as JobSettings
from domain.values import Clock, new_id

#: Seconds before a store that did not say whether a job was claimed is asked again.
ASK_AGAIN = 0.5


class Claims:
    """Group commit of claims. `again` queues a claimed job for another run, where this one was none."""

    def __init__(
        self,
        *,
        database: Database,
        settings: JobSettings,
        clock: Clock,
        worker: str,
        again: Callable[[Claimed, BaseException], Awaitable[object]],
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._worker = worker
        self._again = again
        #: By kind.
        self._batches: dict[str, Batcher[str, Claimed | None]] = {}
        #: Claims that are let go.
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, job_id: str, *, kind: str) -> Claimed | None:
        """As `JobRuns.claim`."""
        batches = self._batches.get(kind)
        if batches is None:
            observe = BATCH_SIZE.labels("claim").observe
            batches = self._batches[kind] = Batcher(partial(self._claim, kind), observe=observe)
        return await batches.submit(job_id)

    async def drain(self) -> None:
        """Returns when every claim was written or given up. What is not let go by then is the relay's."""
        for batches in self._batches.values():
            await batches.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _claim(self, kind: str, job_ids: list[str]) -> list[Claimed | None]:
        attempt_id, give_up = new_id(), self._clock() + self._settings.lease / 3
        while True:
            try:
                mine = await self._take(kind, job_ids, attempt_id)
            except PyMongoError as error:
                if not store_is_away(error):
                    raise
                # What was taken would stay so until the lease ends, and count as a run that nobody made.
                if self._clock() > give_up:
                    task = asyncio.create_task(self._let_go(job_ids, attempt_id, error))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    raise
                await asyncio.sleep(ASK_AGAIN)
            else:
                return [mine.pop(job_id, None) for job_id in job_ids]

    async def _take(self, kind: str, job_ids: list[str], attempt_id: str) -> dict[str, Claimed]:
        """What the attempt has by now. Run again, it takes nothing twice."""
        now = self._clock()
        update = {
            "$set": {
                "state": RUNNING, "attempt_id": attempt_id, "started_at": now,
                "lease_until": now + self._settings.lease,
            },
            "$inc": {"attempts": 1},
            "$push": {"history": {**step(RUNNING, now), "worker": self._worker}},
        }  # fmt: skip
        query = {"_id": {"$in": job_ids}, "state": QUEUED, "kind": kind}
        await Changes.of(JOBS, query, update).commit(self._database)
        return await self._taken(job_ids, attempt_id)

    async def _taken(self, job_ids: list[str], attempt_id: str) -> dict[str, Claimed]:
        query = {"_id": {"$in": job_ids}, "state": RUNNING, "attempt_id": attempt_id}
        return {row["_id"]: claimed(row) async for row in self._database[JOBS].find(query)}

    async def _let_go(self, job_ids: list[str], attempt_id: str, error: PyMongoError) -> None:
        """Queues what a claim took whose answer never came. Past the lease the relay does that."""
        lapsed = self._clock() + self._settings.lease
        while self._clock() < lapsed:
            await asyncio.sleep(ASK_AGAIN)
            with suppress(PyMongoError):
                for job in (await self._taken(job_ids, attempt_id)).values():
                    await self._again(job, error)
                return
