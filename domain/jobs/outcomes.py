"""What is written when a run of a job ends. Plain values in, documents out."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.changes import Doc
from domain.errors import DomainError
from domain.jobs.models import Claimed
from domain.jobs.rules import DEAD, QUEUED, RUNNING, backoff, step
from domain.settings import Jobs as JobSettings

#: The longest text of a fault, and the most lines of a history, that are kept.
TEXT_LIMIT = 4000
HISTORY_LIMIT = 100


def error_form(error: BaseException) -> dict[str, Any]:
    """How an error is kept: the code and detail of an answer; of a fault its text, which ops alone see."""
    if isinstance(error, DomainError):
        return {"code": error.code, "message": error.message, "detail": error.detail}
    fault = f"{type(error).__name__}: {error}"[:TEXT_LIMIT]
    return {"code": "internal", "message": "The platform failed at this.", "detail": {}, "fault": fault}


def next_run(
    settings: JobSettings,
    error: BaseException,
    *,
    now: datetime,
    attempts: int,
    failing_since: datetime | None,
    seconds: float | None,
) -> Doc:
    """Another run after a pause; dead after the last one, or when the job has failed for too long.

    `seconds` is the pause of a verb that asked to be run again: of such runs only the time counts.
    """
    since = failing_since or now
    outcome = {"attempts": attempts, "error": error_form(error), "failing_since": since}
    spent = seconds is None and attempts >= settings.max_attempts
    if spent or now - since > settings.give_up_after:
        return outcome | {"state": DEAD}
    pause = backoff(max(attempts, 1), first=settings.backoff, longest=settings.max_backoff)
    return outcome | {
        "state": QUEUED,
        # No message is on its way: the relay sends one when the time has come.
        "dispatched_at": None,
        "not_before": now + (pause if seconds is None else timedelta(seconds=seconds)),
    }


def recording(outcome: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The update that records an outcome."""
    final = outcome["state"] != QUEUED
    error = outcome.get("error")
    line = step(outcome["state"], at, error["message"] if error else None)
    # What went wrong in an earlier run is history.
    fields = {"error": None, **outcome} | ({"finished_at": at} if final else {})
    return {"$set": fields, "$push": {"history": {"$each": [line], "$slice": -HISTORY_LIMIT}}}


def held_by(job: Claimed) -> dict[str, Any]:
    """The query that finds the job only while this attempt has it."""
    return {"_id": job.id, "state": RUNNING, "attempt_id": job.attempt_id}


def claimed(row: Doc) -> Claimed:
    """A stored job as the worker that claimed it sees it."""
    return Claimed(
        id=row["_id"],
        kind=row["kind"],
        owner=row["owner"],
        attempt_id=row["attempt_id"],
        attempts=row["attempts"],
        payload=row["payload"],
        subject=row.get("subject"),
        request_id=row.get("request_id"),
        created_at=row["created_at"],
        failing_since=row.get("failing_since"),
        pool=row["pool"],
    )
