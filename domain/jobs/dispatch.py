"""Handing accepted jobs to the broker, and marking those that it confirmed."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pymongo.errors import PyMongoError

from domain.batching import Batcher
from domain.changes import Changes, Database
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED
from domain.metrics import BATCH_SIZE
from domain.observe import logger
from domain.ports import JobMessage, JobQueue
from domain.settings import Jobs as JobSettings
from domain.values import Clock

log = logger(__name__)

#: Seconds before confirmed jobs are marked. Most have ended by then and need no mark.
MARK_LINGER = 1.0


class Dispatcher:
    """Sends job messages with confirms, many at once.

    The mark moves a job's `not_before` from "shortly after it was accepted" to "long after it was sent".
    It is one update for all that were confirmed within a second, it skips those that a worker has begun
    since (they may wait for another run by now), and one that is lost costs a second message, which does
    nothing.
    """

    def __init__(self, *, database: Database, queue: JobQueue, settings: JobSettings, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings
        self._clock = clock
        self._draining = asyncio.Event()
        self._sends: Batcher[JobMessage, bool] = Batcher(self._publish, max_size=256)
        self._marks: Batcher[str, None] = Batcher(
            self._mark_begun_by_nobody, max_size=1000, observe=BATCH_SIZE.labels("mark").observe
        )

    async def send(self, message: JobMessage) -> bool:
        """Whether the broker confirmed the message in time. Never raises for a broker that is away."""
        confirmed = await self._sends.submit(message)
        if confirmed:
            self._marks.post(message.job_id)
        return confirmed

    async def send_again(self, messages: Sequence[JobMessage], *, found_by: Mapping[str, Any]) -> int:
        """Sends what the query `found_by` found, and marks at once what it would find still.

        Answers how many the broker confirmed.
        """
        answers = await asyncio.gather(*(self._sends.submit(message) for message in messages))
        confirmed = [message.job_id for message, yes in zip(messages, answers, strict=True) if yes]
        await self._mark(confirmed, found_by)
        return len(confirmed)

    async def drain(self) -> None:
        """Returns when every message has its answer and every mark was tried."""
        self._draining.set()
        await self._sends.drain()
        await self._marks.drain()

    async def _publish(self, messages: list[JobMessage]) -> list[bool]:
        return await self._queue.publish(messages)

    async def _mark_begun_by_nobody(self, job_ids: list[str]) -> list[None]:
        with suppress(TimeoutError):
            async with asyncio.timeout(MARK_LINGER):
                await self._draining.wait()
        await self._mark(job_ids, {"state": QUEUED, "started_at": None})
        return [None] * len(job_ids)

    async def _mark(self, job_ids: list[str], query: Mapping[str, Any]) -> None:
        now = self._clock()
        update = {"$set": {"dispatched_at": now, "not_before": now + self._settings.resend_after}}
        try:
            # In a transaction, so that it waits for no job that a batch has in hand: SecantusDB keeps the
            # collection locked while a plain update of many waits, and the batch would wait for that lock.
            changes = Changes()
            changes.update(JOBS, {**query, "_id": {"$in": job_ids}}, update, expect=None, name="marks")
            await changes.commit(self._database)
        except PyMongoError as error:
            log.warning("jobs could not be marked as sent; the relay may send them twice", error=str(error))
