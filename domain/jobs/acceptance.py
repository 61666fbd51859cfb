"""The row that a job is accepted by."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from domain import telemetry
from domain.changes import Doc
from domain.jobs.commands import Command, NewerPayload, versioned_kind
from domain.jobs.rules import QUEUED, fingerprint, step
from domain.ports import JobMessage
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
    trace = telemetry.traceparent()
    return {
        "_id": job_id,
        "kind": command.kind,
        "pool": command.pool,
        "owner": owner,
        "key": key,
        "fingerprint": fingerprint(payload if request is None else request),
        "payload": payload,
        "version": command.version,
        "state": QUEUED,
        "attempts": 0,
        "created_at": now,
        "dispatched_at": now,
        "not_before": now + resend_after,
        "history": [step(QUEUED, now)],
        "request_id": request_id,
        "subject": subject or job_id,
        # Whoever sends it, and whenever, its run belongs to the trace of whoever asked for it.
        **({"traceparent": trace} if trace else {}),
    }


def message_of(job: Mapping[str, Any], *, express: bool = False) -> JobMessage:
    """The pointer that goes over the broker."""
    return JobMessage(
        job_id=job["_id"],
        kind=versioned_kind(job["kind"], job.get("version", 1)),
        pool=job["pool"],
        request_id=job.get("request_id"),
        traceparent=job.get("traceparent"),
        express=express,
    )


def same_request(stored: Mapping[str, Any], repeated: Mapping[str, Any], command: Command) -> bool:
    """Whether a repeated key came with what it came with first, be that in an older form of the payload.

    What a newer process has stored cannot be compared here, and counts as the same: it is one job either way.
    """
    if stored["fingerprint"] == repeated["fingerprint"]:
        return True
    version: int = stored.get("version", 1)
    if version == command.version or stored.get("payload") is None:
        return False
    try:
        first = command.load(stored["payload"], version=version)
    except NewerPayload:
        return True
    except ValidationError:
        return False
    return fingerprint(first.payload()) == str(repeated["fingerprint"])
