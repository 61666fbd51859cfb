"""Running ended jobs again, each under its own id."""

from datetime import datetime

from domain.changes import Database, Doc
from domain.errors import Conflict, JobNotReplayable, NotFound
from domain.jobs.acceptance import message_of
from domain.jobs.dispatch import Dispatcher
from domain.jobs.models import JOBS
from domain.jobs.rules import DEAD, QUEUED, REPLAYABLE, replayed, step
from domain.jobs.signals import JobSignals
from domain.settings import Jobs as JobSettings
from domain.values import Clock


class Replaying:
    """As `Jobs.replay` promises, for one job; and for the dead ones that ops replay many at a time."""

    def __init__(
        self,
        *,
        database: Database,
        dispatcher: Dispatcher,
        signals: JobSignals,
        settings: JobSettings,
        clock: Clock,
    ) -> None:
        self._jobs = database[JOBS]
        self._dispatcher = dispatcher
        self._signals = signals
        self._settings = settings
        self._clock = clock

    async def replay(self, job_id: str, *, by: str, reason: str | None = None) -> Doc:
        """As `Jobs.replay`."""
        query = {"_id": job_id, "state": {"$in": list(REPLAYABLE)}, "payload": {"$ne": None}}
        return await self._again(query, {**self._line(by), "reason": reason})

    async def replay_dead(
        self, job_id: str, *, by: str, bulk_id: str, died_by: datetime, reason: str | None = None
    ) -> Doc:
        """Replays a job that was dead at `died_by`. Done twice, it is one replay: its history names the bulk.

        Raises as `replay`, also for one that has died again since.
        """
        query = {"_id": job_id, "state": DEAD, "finished_at": {"$lte": died_by}, "payload": {"$ne": None}}
        line = {**self._line(by), "reason": reason, "bulk": bulk_id}
        return await self._again(query, line)

    def _line(self, by: str) -> Doc:
        return step(QUEUED, self._clock(), replayed(by))

    async def _again(self, query: Doc, line: Doc) -> Doc:
        now, job_id = self._clock(), query["_id"]
        update = {
            "$set": {
                "state": QUEUED, "attempts": 0, "error": None, "started_at": None, "finished_at": None,
                "dispatched_at": now, "waits_since": now, "failing_since": None,
                "not_before": now + self._settings.resend_after,
            },
            "$push": {"history": line},
        }  # fmt: skip
        changed = await self._jobs.update_one(query, update)
        job: Doc | None = await self._jobs.find_one({"_id": job_id})
        if job is None:
            raise NotFound(job=job_id)
        if not changed.matched_count:
            if job.get("payload") is None:
                raise Conflict(job=job_id, reason="its payload was compacted away")
            if "bulk" not in line or not in_bulk(job, line["bulk"]):
                raise JobNotReplayable(job=job_id, state=job["state"])
            return job
        await self._signals.forget(job_id)
        await self._dispatcher.send(message_of(job))
        return job


def in_bulk(job: Doc, bulk_id: str) -> bool:
    """Whether the bulk run has had this job already, by its history."""
    return any(line.get("bulk") == bulk_id for line in job.get("history") or ())
