"""States of a job, backoff, and the form in which a job is shown. Pure."""

import hashlib
import json
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.events.rules import rfc3339
from domain.jobs.fair_rules import waits_for_turn

QUEUED = "queued"
RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"
DEAD = "dead"
CANCELLED = "cancelled"
STATES = (QUEUED, RUNNING, SUCCEEDED, FAILED, DEAD, CANCELLED)
#: States that only a replay leaves.
FINAL = (SUCCEEDED, FAILED, DEAD, CANCELLED)
REPLAYABLE = (FAILED, DEAD, CANCELLED)
#: Ended jobs that lose their payload after a while. A dead one waits for somebody to look at it.
COMPACTED = (SUCCEEDED, FAILED, CANCELLED)
#: Owner of the jobs that the platform gives itself.
SYSTEM = "system"
#: The pub/sub channel that tells this platform's own processes which jobs have ended.
WAKE_CHANNEL = "stockyard:wake"
_REPLAYED = "replayed by "


def cache_key(job_id: str) -> str:
    """Where an ended job's form is cached."""
    return f"stockyard:job:{job_id}"


def fingerprint(payload: Mapping[str, Any]) -> str:
    """SHA-256 of the payload's canonical JSON: tells another body under a used key."""
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def backoff(attempt: int, *, first: timedelta, longest: timedelta) -> timedelta:
    """The pause after the `attempt`-th run (from 1): doubles each time, between half of it and all of it."""
    full = min(first * (1 << min(attempt - 1, 30)), longest)
    return full * random.uniform(0.5, 1.0)


def step(state: str, at: datetime, note: str | None = None) -> dict[str, Any]:
    """One line of a job's history."""
    return {"state": state, "at": at, "note": note}


def replayed(by: str) -> str:
    """The note of a job that somebody has run again."""
    return f"{_REPLAYED}{by}"


def replayer(line: Mapping[str, Any]) -> str | None:
    """Who had the job run again, by a line of its history; None where the line tells something else."""
    note = str(line.get("note") or "")
    is_replay = line["state"] == QUEUED and note.startswith(_REPLAYED)
    return note.removeprefix(_REPLAYED) if is_replay else None


def view(job: Mapping[str, Any], *, ops: bool = False) -> dict[str, Any]:
    """The form in which a stored job is shown; JSON. What a fault was is for ops alone."""
    hidden = () if ops else ("fault",)
    return {
        "id": job["_id"],
        "kind": job["kind"],
        "state": job["state"],
        "subject": job.get("subject"),
        "attempts": job.get("attempts", 0),
        "progress": job.get("progress"),
        "result": job.get("result"),
        "error": {name: value for name, value in (job.get("error") or {}).items() if name not in hidden}
        or None,
        "created_at": rfc3339(job["created_at"]),
        "started_at": _time(job.get("started_at")),
        "finished_at": _time(job.get("finished_at")),
        "not_before": _time(_next_run(job)),
        "history": [
            {"state": each["state"], "at": rfc3339(each["at"]), "note": each.get("note")}
            for each in job.get("history") or ()
        ],
    }


def waiting_since(job: Mapping[str, Any]) -> datetime:
    """Since when a queued job waits; in the future where it is put off until then."""
    since: datetime = job.get("waits_since") or job["created_at"]
    return since


def _next_run(job: Mapping[str, Any]) -> datetime | None:
    """When a queued job is sent at the latest; None where it waits for its account's turn."""
    at: datetime | None = job.get("not_before")
    return at if job["state"] == QUEUED and not waits_for_turn(at) else None


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None
