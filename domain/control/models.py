"""What the control of processes, pools and timetable keeps. All of it is small."""

from datetime import datetime
from typing import Any

from beanie import Document
from pydantic import BaseModel

PROCESSES = "processes"
SWITCHES = "pool_switches"
TIMETABLE = "timetable"
RUNS_ASKED = "timetable_runs"
#: The pub/sub channel that has processes look again at what ops want. Nothing but a hint goes over it.
CHANNEL = "stockyard:control"


class Order(BaseModel):
    """Who wants it so, since when and why."""

    by: str
    at: datetime
    reason: str | None = None


class InHand(BaseModel):
    """A job that a thread of a worker has begun, and that has not ended."""

    id: str
    kind: str
    since: datetime


class Process(Document):
    """A process as it told of itself last. One that ends deletes its own."""

    id: str  # type: ignore[assignment]  # a UUIDv7 of ours, made when the process starts
    role: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    pools: list[str]
    threads: int
    memory_bytes: int
    jobs: list[InHand]
    #: Pools whose queues it consumes now.
    consuming: list[str]
    #: Whether it leads the timetable; None where it is no scheduler.
    leads: bool | None = None
    #: Set by ops: it takes no more jobs.
    drain: Order | None = None

    class Settings:
        """Where."""

        name = PROCESSES


class Switch(Document):
    """Whether the workers of a pool take jobs."""

    id: str  # type: ignore[assignment]  # the pool
    paused: Order | None = None

    class Settings:
        """Where."""

        name = SWITCHES


class Timetable(Document):
    """How the entries of the timetable ran last, by their slugs: one document, one write for all."""

    id: str  # type: ignore[assignment]
    entries: dict[str, dict[str, Any]]

    class Settings:
        """Where."""

        name = TIMETABLE


class AskedRun(Document):
    """A run of an entry that ops asked for."""

    id: str  # type: ignore[assignment]
    entry: str
    by: str
    asked_at: datetime
    state: str
    began_at: datetime | None = None
    ended_at: datetime | None = None
    result: int | None = None
    error: str | None = None

    class Settings:
        """Where."""

        name = RUNS_ASKED
