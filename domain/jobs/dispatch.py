"""Handing accepted jobs to the broker, and noting those that it did not confirm."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pymongo.errors import PyMongoError

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc
from domain.jobs.acceptance import message_of
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED
from domain.metrics import BATCH_SIZE
from domain.observe import logger
from domain.ports import JobMessage, JobQueue
from domain.settings import Jobs as JobSettings
from domain.values import Clock

log = logger(__name__)

#: After this long an accepted job was sent by whoever accepted it, or will not be: confirms have 2 s.
SENT_BY_NOW = timedelta(seconds=5)


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
        #: By pool: a queue that confirms nothing keeps no other waiting.
        self._sends: dict[str, Batcher[JobMessage, bool]] = {}
        self._unsent: Batcher[str, None] = Batcher(
            self._note_unsent, max_size=1000, observe=BATCH_SIZE.labels("unsent").observe
        )

    async def send(self, message: JobMessage) -> bool:
        """Whether the broker confirmed the message in time. Never raises for a broker that is away."""
        confirmed = await self._send(message)
        if not confirmed:
            self._unsent.post(message.job_id)
        return confirmed

    async def send_once_more(self, job: Doc) -> None:
        """For a request that was repeated: who accepted the job may have died before sending it.

        Does nothing for a job that was sent twice, begun or ended, or that its first request may be sending.
        """
        once = job.get("dispatched_at") == job["created_at"] and job.get("started_at") is None
        if job["state"] == QUEUED and once and self._clock() - job["created_at"] > SENT_BY_NOW:
            found_by = {"state": QUEUED, "dispatched_at": job["dispatched_at"]}
            await self.send_again([message_of(job)], found_by=found_by)

    async def send_again(self, messages: Sequence[JobMessage], *, found_by: Mapping[str, Any]) -> int:
        """Sends what the query `found_by` found, and notes as sent what it would find still.

        Answers how many the broker confirmed.
        """
        answers = await asyncio.gather(*(self._send(message) for message in messages))
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
        for sends in list(self._sends.values()):
            await sends.drain()
        await self._unsent.drain()

    async def _send(self, message: JobMessage) -> bool:
        sends = self._sends.get(message.pool)
        if sends is None:
            sends = self._sends[message.pool] = Batcher(self._publish, max_size=256)
        return await sends.submit(message)

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
