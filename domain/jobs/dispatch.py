"""Handing accepted jobs to the broker, and noting those that it did not confirm."""

import asyncio
from collections.abc import Mapping, Sequence
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


class Dispatcher:
    """Sends job messages with confirms, many at once.

    A job is stored as sent, so that one that is costs no second write. What the broker did not confirm is
    noted at once, for the relay to send. A process that dies in between leaves a job that looks sent: the
    relay sends it when its queue is empty, or long after.
    """

    def __init__(self, *, database: Database, queue: JobQueue, settings: JobSettings, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._settings = settings
        self._clock = clock
        self._sends: Batcher[JobMessage, bool] = Batcher(self._publish, max_size=256)
        self._unsent: Batcher[str, None] = Batcher(
            self._note_unsent, max_size=1000, observe=BATCH_SIZE.labels("unsent").observe
        )

    async def send(self, message: JobMessage) -> bool:
        """Whether the broker confirmed the message in time. Never raises for a broker that is away."""
        confirmed = await self._sends.submit(message)
        if not confirmed:
            self._unsent.post(message.job_id)
        return confirmed

    async def send_again(self, messages: Sequence[JobMessage], *, found_by: Mapping[str, Any]) -> int:
        """Sends what the query `found_by` found, and notes as sent what it would find still.

        Answers how many the broker confirmed.
        """
        answers = await asyncio.gather(*(self._sends.submit(message) for message in messages))
        confirmed = [message.job_id for message, yes in zip(messages, answers, strict=True) if yes]
        now = self._clock()
        sent = {"dispatched_at": now, "not_before": now + self._settings.resend_after}
        await self._note(confirmed, found_by, sent)
        return len(confirmed)

    async def put_off(self, job_ids: Sequence[str], *, found_by: Mapping[str, Any]) -> None:
        """Notes that what the query `found_by` found need not be sent again yet: its messages wait."""
        await self._note(list(job_ids), found_by, {"not_before": self._clock() + self._settings.resend_after})

    async def drain(self) -> None:
        """Returns when every message has its answer and every note was tried."""
        await self._sends.drain()
        await self._unsent.drain()

    async def _publish(self, messages: list[JobMessage]) -> list[bool]:
        return await self._queue.publish(messages)

    async def _note_unsent(self, job_ids: list[str]) -> list[None]:
        # One that was begun has arrived after all, and may wait for another run by now.
        query = {"state": QUEUED, "started_at": None}
        await self._note(job_ids, query, {"dispatched_at": None, "not_before": self._clock()})
        return [None] * len(job_ids)

    async def _note(self, job_ids: list[str], query: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        try:
            await Changes.of(JOBS, {**query, "_id": {"$in": job_ids}}, {"$set": fields}).commit(
                self._database
            )
        except PyMongoError as error:
            log.warning("jobs could not be noted as sent or unsent; they are sent later", error=str(error))
