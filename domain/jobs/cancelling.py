"""Cancelling a job, with what its end means to others, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import JobFinished, JobRunning, NotFound, TryAgain
from domain.events.making import maker
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.jobs.models import JOBS
from domain.jobs.rules import CANCELLED, DEAD, QUEUED, RUNNING, step
from domain.jobs.signals import JobSignals
from domain.values import Clock

#: How often a cancel is tried again where somebody else told an event of the same account.
TRIES = 8
_GUARD = "job to cancel"

#: What is told where a job of a kind is cancelled; it is handed the job as it was, and the reason.
CancelHook: TypeAlias = Callable[[Doc, str | None], Sequence[NewEvent]]


class Cancelling:
    """Cancels jobs that have had no effect yet."""

    def __init__(self, *, database: Database, signals: JobSignals, events: Events, clock: Clock) -> None:
        self._database = database
        self._signals = signals
        self._events = events
        self._clock = clock
        self._hooks: dict[str, CancelHook] = {}

    def on_cancel(self, kind: str, hook: CancelHook) -> None:
        """Registers what is told of a cancelled job of the kind."""
        self._hooks[kind] = hook

    async def cancel(self, job_id: str, *, owner: str | None, by: str, reason: str | None = None) -> Doc:
        """As `Jobs.cancel`, which has the rules."""
        # A job that is settled in batches has its effect with its end, and never an attempt.
        untouched: Doc = {"state": {"$in": [QUEUED, DEAD]}, "attempt_id": None}
        query: Doc = {"_id": job_id}
        query |= {"$or": [untouched, {"state": DEAD}]} if owner is None else {"owner": owner, **untouched}
        job = await self._cancel(query, owner, by, reason, {})
        _require_cancelled(job)
        return job

    async def discard(
        self, job_id: str, *, by: str, bulk_id: str, died_by: datetime, reason: str | None = None
    ) -> Doc:
        """Cancels a job that was dead at `died_by`. Done twice, it is one end: its history names the bulk.

        Raises NotFound, JobRunning also for one that has died again since, and JobFinished.
        """
        query = {"_id": job_id, "state": DEAD, "finished_at": {"$lte": died_by}}
        job = await self._cancel(query, None, by, reason, {"bulk": bulk_id})
        if not any(line.get("bulk") == bulk_id for line in job.get("history") or ()):
            _require_cancelled(job)
            raise JobFinished(job=job_id, state=job["state"])
        return job

    async def _cancel(
        self, query: Doc, owner: str | None, by: str, reason: str | None, facts: Mapping[str, Any]
    ) -> Doc:
        """The job as it is then, whether or not the query found it."""
        note = f"by {by}: {reason}" if reason else f"by {by}"
        for _ in range(TRIES):
            job = await self._find(query["_id"], owner)
            hook = self._hooks.get(job["kind"])
            line = {**step(CANCELLED, self._clock(), note), **facts}
            try:
                cancelled = await self._try(query, line, list(hook(job, reason)) if hook else [])
            except GuardFailed:
                continue
            job = await self._find(query["_id"], owner)
            if cancelled:
                self._signals.ended([job])
            return job
        msg = "others kept recording events of the same account"
        raise TryAgain(msg)

    async def _find(self, job_id: str, owner: str | None) -> Doc:
        job = await self._database[JOBS].find_one({"_id": job_id})
        if job is None or (owner is not None and job["owner"] != owner):
            raise NotFound(job=job_id)
        return job

    async def _try(self, query: Doc, line: Doc, events: Sequence[NewEvent]) -> bool:
        """Whether the job was one to cancel. Raises GuardFailed where only an event's number was taken."""
        now, changes = line["at"], Changes()
        update = {"$set": {"state": CANCELLED, "finished_at": now}, "$push": {"history": line}}
        changes.update(JOBS, query, update, expect=1, name=_GUARD)
        owners = [event.account_id for event in events]
        # The job's own end tells it, unless another job is at work on that.
        events = [replace(event, job_id=maker() or query["_id"]) for event in events]
        cursors = await self._events.cursors(owners) if owners else {}
        recorded = self._events.record(changes, events, cursors=cursors, at=now)
        try:
            await changes.commit(self._database)
        except GuardFailed as error:
            if _GUARD in error.guards:
                return False
            raise
        self._events.publish(recorded)
        return True


def _require_cancelled(job: Doc) -> None:
    if job["state"] in (RUNNING, QUEUED, DEAD):
        raise JobRunning(job=job["_id"], state=job["state"])
    if job["state"] != CANCELLED:
        raise JobFinished(job=job["_id"], state=job["state"])
