"""The row that a job is accepted by."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.changes import Doc
from domain.jobs.commands import Command
from domain.jobs.rules import QUEUED, fingerprint, step
from domain.values import new_id


def new_job(
    command: Command,
    *,
    owner: str,
    key: str,
    now: datetime,
    resend_after: timedelta,
    request_id: str | None = None,
    subject: str | None = None,
    job_id: str | None = None,
    request: Mapping[str, Any] | None = None,
) -> Doc:
    """A queued job, stored as sent. `request` is what a repetition of the key has to repeat: the payload."""
    payload = command.payload()
    job_id = job_id or new_id()
    return {
        "_id": job_id,
        "kind": command.kind,
        "pool": command.pool,
        "owner": owner,
        "key": key,
        "fingerprint": fingerprint(payload if request is None else request),
        "payload": payload,
        "state": QUEUED,
        "attempts": 0,
        "created_at": now,
        "dispatched_at": now,
        "not_before": now + resend_after,
        "history": [step(QUEUED, now)],
        "request_id": request_id,
        "subject": subject or job_id,
    }
