"""One job, whole: what ops see of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.changes import Doc
from domain.events.rules import rfc3339
from domain.jobs.masking import masked
from domain.jobs.rules import FINAL, QUEUED, RUNNING, SYSTEM, view

#: An event that its end tells comes no later.
AFTERMATH = timedelta(minutes=1)
#: What a line of the history has for ops alone.
RUN_FACTS = ("worker", "error", "batch", "bulk", "reason")


def detail(job: Mapping[str, Any], events: Sequence[Doc] = (), *, now: datetime) -> dict[str, Any]:
    """The job as ops see it; JSON. Payload and history are None once they were compacted away."""
    payload = job.get("payload")
    history = job.get("history")
    return {
        **view(job, ops=True),
        "owner": job["owner"],
        "pool": job["pool"],
        "key": job["key"],
        "request_id": job.get("request_id"),
        "version": job.get("version", 1),
        "payload": None if payload is None else masked(job["kind"], payload),
        "dispatched_at": _time(job.get("dispatched_at")),
        "lease_until": _time(job.get("lease_until")) if job["state"] == RUNNING else None,
        "failing_since": _time(job.get("failing_since")),
        "timings": timings(job, now=now),
        "history": None if history is None else [_line(each) for each in history],
        "runs": runs(history or ()),
        "events": [_told(each) for each in events],
    }


def timings(job: Mapping[str, Any], *, now: datetime) -> dict[str, int | None]:
    """Milliseconds: until it was sent, until its last run began, of that run, and in all to its end or now.

    A job that was settled in a batch began with the transaction that ended it: its wait has the batch in it.
    """
    created, sent = job["created_at"], job.get("dispatched_at")
    started, ended = job.get("started_at"), job.get("finished_at")
    running_until = ended or (now if job["state"] == RUNNING else None)
    return {
        "sent_ms": _ms(created, sent),
        "waited_ms": _ms(created, started or (now if job["state"] == QUEUED else ended)),
        "ran_ms": _ms(started, running_until) if started and running_until else None,
        "total_ms": _ms(created, ended if job["state"] in FINAL else now),
    }


def runs(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The runs that the history tells of, oldest first: who ran it, from when to when, and how it ended."""
    found: list[dict[str, Any]] = []
    for line in history:
        if line["state"] == RUNNING:
            found.append(_run(line, started=line["at"]))
        elif line.get("batch") or (line.get("error") and not _is_open(found)):
            # Settled in a batch: it has no line for its beginning.
            found.append({**_run(line, started=None), **_end(line)})
        elif _is_open(found):
            found[-1] |= _end(line)
    return found


def _is_open(found: Sequence[Mapping[str, Any]]) -> bool:
    return bool(found) and found[-1]["ended_at"] is None


def _run(line: Mapping[str, Any], *, started: datetime | None) -> dict[str, Any]:
    return {
        "worker": line.get("worker") or None,
        "batch": line.get("batch"),
        "started_at": _time(started),
        "ended_at": None,
        "outcome": None,
        "error": None,
        "note": None,
    }


def _end(line: Mapping[str, Any]) -> dict[str, Any]:
    outcome = "retried" if line["state"] == QUEUED else line["state"]
    note = line.get("note")
    return {"ended_at": rfc3339(line["at"]), "outcome": outcome, "error": line.get("error"), "note": note}


def events_of(job: Mapping[str, Any], *, now: datetime) -> tuple[str, set[str], datetime, datetime] | None:
    """Whose events may be about the job, about what, and between when; None where nobody is told of it."""
    if job["owner"] == SYSTEM:
        return None
    until = job.get("finished_at") or now
    subjects = {job["_id"], job.get("subject") or job["_id"]}
    return job["owner"], subjects, job["created_at"], until + AFTERMATH


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: line[name] for name in RUN_FACTS if line.get(name)}
    return {"state": line["state"], "at": rfc3339(line["at"]), "note": line.get("note"), **facts}


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": event["_id"],
        "type": event["type"],
        "time": rfc3339(event["time"]),
        "account_id": event["account_id"],
        "seq": event["seq"],
        "subject": event["subject"],
    }


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _ms(since: datetime | None, until: datetime | None) -> int | None:
    if since is None or until is None:
        return None
    return max(0, round((until - since).total_seconds() * 1000))
