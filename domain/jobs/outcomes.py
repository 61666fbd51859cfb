"""What is written when a run of a job ends. Plain values in, documents out."""

import traceback
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.changes import Doc
from domain.errors import DomainError, TryAgain
from domain.jobs.models import Claimed
from domain.jobs.rules import DEAD, QUEUED, RUNNING, backoff, step
from domain.settings import Jobs as JobSettings

#: The longest text of a fault, and the most lines of a history, that are kept.
TEXT_LIMIT = 4000
HISTORY_LIMIT = 100
#: Where an outcome has what only its line of the history keeps.
RUN = "run"
#: The longest text of a trace; its end says most. A history has at most one for each counted run.
TRACE_LIMIT = 6000


def error_form(error: BaseException) -> dict[str, Any]:
    """How an error is kept: the code and detail of an answer; of a fault its text, which ops alone see."""
    if isinstance(error, DomainError):
        return {"code": error.code, "message": error.message, "detail": error.detail}
    fault = f"{type(error).__name__}: {error}"[:TEXT_LIMIT]
    return {"code": "internal", "message": "The platform failed at this.", "detail": {}, "fault": fault}


def failure_form(error: BaseException, *, counted: bool) -> dict[str, Any]:
    """What the history keeps of one run that failed: with the trace, where the run counts."""
    kept = {name: value for name, value in error_form(error).items() if name in ("code", "fault")}
    if counted:
        kept["trace"] = "".join(traceback.format_exception(error))[-TRACE_LIMIT:]
    return kept


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
    outcome = {
        "attempts": attempts,
        "error": error_form(error),
        "failing_since": since,
        RUN: {"error": failure_form(error, counted=seconds is None)},
    }
    spent = seconds is None and attempts >= settings.max_attempts
    patience = error.patience if isinstance(error, TryAgain) else None
    if spent or now - since > (patience or settings.give_up_after):
        return outcome | {"state": DEAD}
    pause = backoff(max(attempts, 1), first=settings.backoff, longest=settings.max_backoff)
    due = now + (pause if seconds is None else timedelta(seconds=seconds))
    # No message is on its way: the relay sends one when the time has come.
    return outcome | {"state": QUEUED, "dispatched_at": None, "not_before": due, "waits_since": due}


def recording(outcome: Mapping[str, Any], at: datetime, run: Mapping[str, Any] | None = None) -> Doc:
    """The update that records an outcome. What `run` says of the run, such as its worker, is for ops."""
    final = outcome["state"] != QUEUED
    error = outcome.get("error")
    line = step(outcome["state"], at, error["message"] if error else None)
    line |= {**outcome.get(RUN, {}), **(run or {})}
    # What went wrong in an earlier run is history.
    kept = {name: value for name, value in outcome.items() if name != RUN}
    fields = {"error": None, **kept} | ({"finished_at": at} if final else {})
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
        version=row.get("version", 1),
    )
