"""Doing a job before the others that wait.

A message in a queue stays where it is, and priorities of RabbitMQ act only on queues that were declared
with them, before a message is fetched. So the job is sent once more, by the pool's express queue, which the
same workers consume: it waits only for what they have in hand and have fetched. Whichever message comes first
does the job; the other finds it done.
"""

from domain.changes import Database, Doc
from domain.errors import JobFinished, JobRunning, NotFound
from domain.jobs.acceptance import message_of
from domain.jobs.dispatch import Dispatcher
from domain.jobs.models import JOBS
from domain.jobs.outcomes import HISTORY_LIMIT
from domain.jobs.rules import FINAL, QUEUED, step
from domain.settings import Jobs as JobSettings
from domain.values import Clock


class Expediting:
    """Sends queued jobs ahead."""

    def __init__(
        self, *, database: Database, dispatcher: Dispatcher, settings: JobSettings, clock: Clock
    ) -> None:
        self._jobs = database[JOBS]
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock

    async def expedite(self, job_id: str, *, by: str, reason: str | None = None) -> Doc:
        """Has a queued job run next, also one that waits for a pause or for its account's turn.

        Harmless when done twice. Where RabbitMQ is away the relay sends the job, as any other. Raises
        NotFound, JobRunning, and JobFinished.
        """
        now = self._clock()
        note = f"sent ahead by {by}" + (f": {reason}" if reason else "")
        update = {
            "$set": {"dispatched_at": now, "not_before": now + self._settings.resend_after},
            "$push": {"history": {"$each": [step(QUEUED, now, note)], "$slice": -HISTORY_LIMIT}},
        }
        await self._jobs.update_one({"_id": job_id, "state": QUEUED}, update)
        job: Doc | None = await self._jobs.find_one({"_id": job_id})
        if job is None:
            raise NotFound(job=job_id)
        if job["state"] in FINAL:
            raise JobFinished(job=job_id, state=job["state"])
        if job["state"] != QUEUED:
            raise JobRunning(job=job_id, state=job["state"])
        if not await self._dispatcher.send(message_of(job, express=True)):
            # One that was begun before is not the dispatcher's to note: it knows nothing of its pauses.
            unsent = {"$set": {"dispatched_at": None, "not_before": now}}
            await self._jobs.update_one({"_id": job_id, "state": QUEUED, "dispatched_at": now}, unsent)
        return job
