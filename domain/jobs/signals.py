"""Telling clients at once that a job has ended: the cache for those who ask, a channel for those who wait.

All of it may be lost: whoever asks then reads the ledger.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from domain import telemetry
from domain.batching import Batcher
from domain.changes import Database, Doc
from domain.jobs.meter import Meter
from domain.jobs.models import JOBS
from domain.jobs.rules import FINAL, REPLAYABLE, SUCCEEDED, WAKE_CHANNEL, cache_key, view
from domain.metrics import JOB_SECONDS
from domain.metrics import JOBS as JOBS_TOTAL
from domain.observe import HotLog
from domain.ports import Cache, PubSub

#: The outcome, in metrics, of a run that is followed by another.
RETRIED = "retried"
#: How long an ended job's form stays in the cache; and that of one that may be run again, for nobody can be
#: sure that the cache was there to be told of it.
CACHE_SECONDS, REPLAYABLE_SECONDS = 600, 5
#: Seconds after which somebody who waits looks into the ledger although nobody told of an end.
LOOK_AGAIN = 2.0


class JobSignals:
    """Ends of jobs, told and awaited. One subscription per process, however many wait."""

    def __init__(
        self, *, database: Database, cache: Cache, pubsub: PubSub, meter: Meter, log_job: HotLog
    ) -> None:
        self._database = database
        self._meter = meter
        self._heard: list[Callable[[Sequence[str]], None]] = []
        self._cache = cache
        self._pubsub = pubsub
        self._log_job = log_job
        self._waiting: dict[str, set[asyncio.Event]] = {}
        # Many clients look at once: their reads become one.
        self._reads: Batcher[str, Doc | None] = Batcher(self._read)
        #: Jobs that ended, and ids of jobs that run again, in the order in which that happened.
        self._outgoing: Batcher[Doc | str, None] = Batcher(self._tell, max_size=256)

    def ended(self, jobs: Sequence[Doc]) -> None:
        """Counts and logs the jobs' ends; caches their final forms and wakes who waits for them, soon."""
        for job in jobs:
            JOBS_TOTAL.labels(job["kind"], job["state"]).inc()
            self._meter.ended(job["kind"], job["state"])
            seconds = (job["finished_at"] - job["created_at"]).total_seconds()
            JOB_SECONDS.labels(job["kind"]).observe(seconds)
            self._log_job("job ended", _facts(job, seconds))
            self._outgoing.post(job)
        self._hear([job["_id"] for job in jobs])

    def retried(self, kind: str) -> None:
        """Counts a run that ended in a fault, and that another follows."""
        JOBS_TOTAL.labels(kind, RETRIED).inc()
        self._meter.retried(kind)

    def on_end(self, hear: Callable[[Sequence[str]], None]) -> None:
        """Has the function told the ids of jobs that ended, in this process, and while listening in all."""
        self._heard.append(hear)

    def _hear(self, job_ids: Sequence[str]) -> None:
        for hear in self._heard:
            hear(job_ids)

    async def drain(self) -> None:
        """Returns when everything that was given to `ended` has been told, or could not be."""
        await self._outgoing.drain()

    async def forget(self, job_id: str) -> None:
        """Drops the cached form: the job runs again."""
        await self._outgoing.submit(job_id)

    async def _tell(self, batch: list[Doc | str]) -> list[None]:
        last = {each if isinstance(each, str) else each["_id"]: each for each in batch}
        ends = [job for job in last.values() if not isinstance(job, str)]
        for seconds, states in ((CACHE_SECONDS, {SUCCEEDED}), (REPLAYABLE_SECONDS, set(REPLAYABLE))):
            kept = {cache_key(job["_id"]): _cached(job) for job in ends if job["state"] in states}
            await self._cache.put(kept, seconds=seconds)
        await self._cache.drop([cache_key(job_id) for job_id, job in last.items() if isinstance(job, str)])
        told = " ".join(each["_id"] for each in batch if not isinstance(each, str))
        if told:
            await self._pubsub.publish([(WAKE_CHANNEL, told)])
        return [None] * len(batch)

    async def look(self, job_id: str) -> tuple[str, dict[str, Any]] | None:
        """The job's owner and form, from the cache where it is there; None where there is no such job."""
        cached = await self._cache.get(cache_key(job_id))
        if cached is not None:
            found: Mapping[str, Any] = json.loads(cached)
            return str(found["owner"]), dict(found["view"])
        job = await self._reads.submit(job_id)
        return (job["owner"], view(job)) if job else None

    async def _read(self, job_ids: list[str]) -> list[Doc | None]:
        rows = self._database[JOBS].find({"_id": {"$in": sorted(set(job_ids))}}, {"payload": 0})
        found = {row["_id"]: row async for row in rows}
        return [found.get(job_id) for job_id in job_ids]

    async def wait(self, job_id: str, *, seconds: float) -> tuple[str, dict[str, Any]] | None:
        """As `look`, once the job has ended or `seconds` have passed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        with_event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(with_event)
        try:
            while True:
                found = await self.look(job_id)
                left = deadline - loop.time()
                if found is None or found[1]["state"] in FINAL or left <= 0:
                    return found
                with_event.clear()
                await _signalled(with_event, min(left, LOOK_AGAIN))
        finally:
            self._stop_waiting(job_id, with_event)

    def _stop_waiting(self, job_id: str, event: asyncio.Event) -> None:
        events = self._waiting[job_id]
        events.discard(event)
        if not events:
            del self._waiting[job_id]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens for ends while it is open: what makes `wait` answer at once."""
        async with AsyncExitStack() as stack:
            told = await stack.enter_async_context(self._pubsub.subscribe(WAKE_CHANNEL))
            task = asyncio.create_task(self._listen(told))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _listen(self, told: AsyncIterator[str]) -> None:
        async for payload in told:
            ended = payload.split()
            self._hear(ended)
            for job_id in ended or list(self._waiting):
                for event in self._waiting.get(job_id, ()):
                    event.set()


def _cached(job: Doc) -> str:
    """The job's form, and whose it is."""
    return json.dumps({"owner": job["owner"], "view": view(job)}, ensure_ascii=False)


def _facts(job: Doc, seconds: float) -> Doc:
    """What the log says of a job that has ended."""
    facts = {
        "job_id": job["_id"],
        "request_id": job.get("request_id"),
        "kind": job["kind"],
        "state": job["state"],
        "code": (job.get("error") or {}).get("code"),
        "ms": round(seconds * 1000),
    }
    trace_id = telemetry.trace_id(job.get("traceparent"))
    return {**facts, "trace_id": trace_id} if trace_id else facts


async def _signalled(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
