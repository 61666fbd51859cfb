"""What a process's silence means, and how runs of the timetable are told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

#: Beats that a process may miss before it counts as lost.
MISSED = 4
#: What was lost is shown for so long.
REMEMBERED = timedelta(minutes=10)

WORKER, API, SCHEDULER = "worker", "api", "scheduler"

#: `working`: it takes what comes. `draining`: it takes no more and has jobs in hand. `drained`: it has none.
#: `lost`: it has been silent, and is most likely dead.
State: TypeAlias = Literal["working", "draining", "drained", "lost"]

#: Runs that ops ask for: not taken up yet, at work, ended in one of two ways, or given up by who asked.
ASKED, RUNNING, DONE, FAILED, WITHDRAWN = "asked", "running", "done", "failed", "withdrawn"
OPEN = (ASKED, RUNNING)


def state_of(process: Mapping[str, Any], *, now: datetime, every: timedelta) -> State:
    """What a process is at, by its document, the time, and how often it is to tell."""
    if now - process["seen_at"] > MISSED * every:
        return "lost"
    if process.get("drain") is None:
        return "working"
    return "draining" if process["jobs"] or process["consuming"] else "drained"


def slug(name: str) -> str:
    """An entry's name as it stands in addresses: `expire holds` is `expire-holds`."""
    return name.lower().replace(" ", "-")


@dataclass(slots=True)
class EntryRuns:
    """How one entry of the timetable ran."""

    name: str
    every: timedelta
    #: The last run: when it began, how long it took, what it did, and what went wrong.
    began_at: datetime | None = None
    milliseconds: int | None = None
    result: int | None = None
    error: str | None = None
    #: The last one that did anything, and the last that failed.
    did_at: datetime | None = None
    did: int | None = None
    failed_at: datetime | None = None
    failure: str | None = None
    #: Runs since that have failed without a break.
    failing: int = 0

    def ran(self, *, began_at: datetime, ended_at: datetime, result: int | None, error: str | None) -> None:
        """Notes a run."""
        self.began_at = began_at
        self.milliseconds = round((ended_at - began_at).total_seconds() * 1000)
        self.result, self.error = result, error
        if error is not None:
            self.failing += 1
            self.failed_at, self.failure = ended_at, error
            return
        self.failing = 0
        if result:
            self.did_at, self.did = ended_at, result

    def form(self, *, by: str) -> dict[str, Any]:
        """As stored; `by` is the process."""
        return {
            "name": self.name,
            "every_ms": round(self.every.total_seconds() * 1000),
            "by": by,
            "last": None
            if self.began_at is None
            else {
                "at": self.began_at,
                "ms": self.milliseconds,
                "result": self.result,
                "error": self.error,
            },
            "did": None if self.did_at is None else {"at": self.did_at, "result": self.did},
            "failed": None if self.failed_at is None else {"at": self.failed_at, "error": self.failure},
            "failing": self.failing,
        }


def next_run(entry: Mapping[str, Any]) -> datetime | None:
    """When an entry is due, by its stored form; None where it never ran."""
    last = entry["last"]
    return None if last is None else last["at"] + timedelta(milliseconds=entry["every_ms"])
