"""The forms in which ops are shown things: JSON. The API, the command line and the console share them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.control.processes import Seen
from domain.control.queues import PoolQueue
from domain.control.status import Health
from domain.control.timetable import EntrySeen
from domain.events.rules import rfc3339

Form = dict[str, Any]

_OF_PROCESS = (
    "role", "host", "pid", "version", "pools", "consuming", "threads", "memory_bytes", "leads",
)  # fmt: skip


def process_form(seen: Seen) -> Form:
    """A process."""
    row = seen.process
    return {
        "id": row["_id"],
        "state": seen.state,
        **{name: row.get(name) for name in _OF_PROCESS},
        "started_at": rfc3339(row["started_at"]),
        "seen_at": rfc3339(row["seen_at"]),
        "jobs": [{**job, "since": rfc3339(job["since"])} for job in row["jobs"]],
        "drain": _order(row.get("drain")),
    }


def queue_form(queue: PoolQueue) -> Form:
    """A pool's queue."""
    return {
        "pool": queue.pool,
        "ready": queue.depth.ready if queue.depth else None,
        "consumers": queue.depth.consumers if queue.depth else None,
        "oldest_at": _time(queue.oldest_at),
        "paused": _order(queue.paused),
        "workers": queue.workers,
        "draining": queue.draining,
        "in_hand": queue.in_hand,
    }


def entry_form(seen: EntrySeen) -> Form:
    """An entry of the timetable."""
    entry = seen.entry
    return {
        "name": seen.slug,
        "title": entry["name"],
        "every_ms": entry["every_ms"],
        "by": entry["by"],
        "last": _timed(entry["last"]),
        "next_at": _time(seen.next_at),
        "did": _timed(entry["did"]),
        "failed": _timed(entry["failed"]),
        "failing": entry["failing"],
    }


def run_form(run: Mapping[str, Any]) -> Form:
    """A run of an entry that was asked for."""
    times = {name: _time(run[name]) for name in ("asked_at", "began_at", "ended_at")}
    return {"id": run["_id"], **{name: run[name] for name in ("entry", "state", "result", "error")}, **times}


def health_form(health: Health) -> Form:
    """Everything at one glance."""
    return {
        "at": rfc3339(health.at),
        "ok": not health.attention,
        "attention": list(health.attention),
        "services": [{"name": each.name, "ok": each.ok, "error": each.error} for each in health.services],
        "queues": [queue_form(each) for each in health.queues],
        "processes": health.counts,
        "schedule": {
            "entries": len(health.schedule),
            "failing": sum(bool(each.entry["failing"]) for each in health.schedule),
        },
    }


def _order(order: Mapping[str, Any] | None) -> Form | None:
    if order is None:
        return None
    return {"by": order["by"], "at": rfc3339(order["at"]), "reason": order.get("reason")}


def _timed(run: Mapping[str, Any] | None) -> Form | None:
    return {**run, "at": rfc3339(run["at"])} if run else None


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None
