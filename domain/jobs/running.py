"""A worker's side of the ledger: claim a job, keep it, record how it ended."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any

from pymongo.errors import PyMongoError

from domain.changes import Changes, Database, Doc
from domain.errors import DomainError
from domain.jobs.claims import ASK_AGAIN, Claims
from domain.jobs.commands import kinds
from domain.jobs.deaths import Death, Deaths
from domain.jobs.ends import Ends
from domain.jobs.models import JOBS, Claimed
from domain.jobs.outcomes import error_form, held_by, next_run, recording
from domain.jobs.rules import DEAD, FAILED, QUEUED, SUCCEEDED, step
from domain.jobs.signals import JobSignals
from domain.observe import logger
from domain.settings import Jobs as JobSettings
from domain.values import Clock

log = logger(__name__)

#: What a batched verb needs of its jobs.
BATCH_FIELDS = dict.fromkeys(
    ("payload", "version", "owner", "kind", "created_at", "state", "attempts", "subject"), 1
)


class JobRuns:
    """Claims and outcomes, group-committed. Every write is guarded by the state that it leaves."""

    def __init__(
        self,
        *,
        database: Database,
        signals: JobSignals,
        deaths: Deaths,
        settings: JobSettings,
        clock: Clock,
        worker: str = "",
    ) -> None:
        self._database = database
        #: Host and process id, as the history of a job has them.
        self._worker = worker
        self._signals = signals
        self._deaths = deaths
        self._settings = settings
        self._clock = clock
        self._keepers: set[asyncio.Task[None]] = set()
        self._ends = Ends(database=database, signals=signals, deaths=deaths, clock=clock)
        self._claims = Claims(
            database=database,
            settings=settings,
            clock=clock,
            worker=worker,
            again=partial(self.retry, seconds=ASK_AGAIN),
        )

    # -- jobs that are claimed one by one --

    async def claim(self, job_id: str, *, kind: str) -> Claimed | None:
        """Takes a queued job of that kind for a lease's time.

        None where it is not queued, for another has or had it, and where it is of another kind. Raises
        PyMongoError where the store has not said for a third of a lease whether the job was taken.
        """
        return await self._claims.submit(job_id, kind=kind)

    @asynccontextmanager
    async def keeping(self, job: Claimed) -> AsyncIterator[None]:
        """Renews the lease while the job runs."""
        ended = asyncio.Event()
        task = asyncio.create_task(self._keep(job, ended))
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)
        try:
            yield
        finally:
            # Ends by itself. A renewal on its way is not waited for: once the job has ended it does nothing.
            ended.set()

    async def _keep(self, job: Claimed, ended: asyncio.Event) -> None:
        while not await _happens(ended, within=self._settings.lease.total_seconds() / 3):
            until = self._clock() + self._settings.lease
            try:
                await self._database[JOBS].update_one(held_by(job), {"$set": {"lease_until": until}})
            except PyMongoError as error:
                log.warning("the lease could not be renewed", job_id=job.id, error=str(error))

    async def progress(self, job: Claimed, **facts: Any) -> None:
        """Shows how far the job is."""
        await self._database[JOBS].update_one(held_by(job), {"$set": {"progress": facts}})

    async def succeed(self, job: Claimed, result: Mapping[str, Any] | None) -> bool:
        """Records the result. False where the lease was lost: another run decides."""
        return await self._ends.record(job, {"state": SUCCEEDED, "result": dict(result or {})})

    async def fail(self, job: Claimed, error: DomainError) -> bool:
        """Records an answer that is a refusal. False where the lease was lost."""
        return await self._ends.record(job, {"state": FAILED, "error": error_form(error)})

    async def retry(self, job: Claimed, error: BaseException, *, seconds: float | None = None) -> bool:
        """Queues the job for another run after a pause, or declares it dead after its last one.

        `seconds` sets the pause of a verb that asked to be run again; such a run does not count.
        """
        counted = job.attempts if seconds is None else job.attempts - 1
        outcome = self._next(error, attempts=counted, since=job.failing_since, seconds=seconds)
        return await self._ends.record(job, outcome)

    def _next(
        self, error: BaseException, *, attempts: int, since: datetime | None, seconds: float | None
    ) -> Doc:
        return next_run(
            self._settings,
            error,
            now=self._clock(),
            attempts=attempts,
            failing_since=since,
            seconds=seconds,
        )

    # -- jobs that are settled in batches by the transaction of their effect --

    async def queued(self, job_ids: Sequence[str], *, kind: str) -> list[Doc]:
        """Those of the jobs that are of that kind and nobody has settled, by id, with today's payloads."""
        command = kinds()[kind]
        query: Doc = {"_id": {"$in": sorted(set(job_ids))}, "state": QUEUED, "kind": kind}
        rows = (
            await self._database[JOBS]
            .find(query, BATCH_FIELDS | {"request_id": 1, "traceparent": 1, "history": 1})
            .to_list()
        )
        readable = [row for row in rows if row.get("version", 1) <= command.version]
        for row in readable:
            row["payload"] = command.upgraded(row["payload"], version=row.get("version", 1))
        return sorted(readable, key=lambda row: str(row["_id"]))

    def settle(
        self,
        changes: Changes,
        jobs: Sequence[Doc],
        ending: Mapping[str, Any],
        *,
        at: datetime,
        batch: Mapping[str, Any] | None = None,
    ) -> list[Doc]:
        """Adds the jobs' end to the transaction that is their effect: the claim and the outcome in one write.

        `ending` holds `state` and `result` or `error`, the same for all. The transaction fails its guard
        where any of the jobs is settled already. `batch` is what the history keeps of the transaction: its
        id, and how many jobs it settles. Answers the jobs as they will be.
        """
        if not jobs:
            return []
        query = {"_id": {"$in": [job["_id"] for job in jobs]}, "state": QUEUED}
        update = recording(ending, at, {"worker": self._worker, "batch": batch})
        update["$set"]["started_at"] = at
        update["$inc"] = {"attempts": 1}
        changes.update(JOBS, query, update, expect=len(jobs), name=f"jobs {ending['state']}")
        now_so = {**ending, "started_at": at, "finished_at": at}
        line = step(ending["state"], at)
        return [
            job | now_so | {"attempts": job["attempts"] + 1, "history": [*job["history"], line]}
            for job in jobs
        ]

    def settled(self, jobs: Sequence[Doc]) -> None:
        """After the transaction: counts, logs, caches and tells."""
        self._signals.ended(jobs)

    async def postpone(self, job_id: str, error: BaseException, *, seconds: float | None = None) -> None:
        """As `retry`, for a job that is settled in batches and so was never claimed."""
        job = await self._database[JOBS].find_one({"_id": job_id, "state": QUEUED})
        if job is None:
            return
        attempts = int(job["attempts"]) + (1 if seconds is None else 0)
        outcome = self._next(error, attempts=attempts, since=job.get("failing_since"), seconds=seconds)
        query = {"_id": job_id, "state": QUEUED, "attempts": job["attempts"]}
        now = self._clock()
        update = recording(outcome | {"started_at": now}, now)
        if outcome["state"] == DEAD:
            await self._deaths.record([Death.of_row(job, query, update)])
            await self._ends.tell([job_id])
        else:
            await self._database[JOBS].update_one(query, update)
            self._signals.retried(job["kind"])

    async def drain(self) -> None:
        """Returns when every claim and outcome has been written."""
        await self._claims.drain()
        await self._ends.drain()
        await asyncio.gather(*self._keepers)


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()
