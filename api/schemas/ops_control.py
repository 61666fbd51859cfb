"""Processes, queues, the timetable and the platform's state on the wire."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue

from api.ops_acts import Why
from api.schemas.common import ID, TIME, Shown, Timestamp, Wire
from domain.control.purging import Purged
from domain.control.rules import State


class OrderView(Shown):
    """Who wants it so, since when and why."""

    by: str
    at: Timestamp
    reason: str | None


class InHandView(Shown):
    """A job that a thread has begun, and that has not ended."""

    id: str
    kind: str
    since: Timestamp


_PROCESS: dict[str, JsonValue] = {
    "id": ID,
    "role": "worker",
    "state": "draining",
    "host": "shop-1",
    "pid": 4711,
    "version": "0.1.0",
    "started_at": TIME,
    "seen_at": TIME,
    "pools": ["orders"],
    "consuming": [],
    "threads": 64,
    "memory_bytes": 104857600,
    "jobs": [{"id": ID, "kind": "orders.pay", "since": TIME}],
    "drain": {"by": ID, "at": TIME, "reason": "the host is to be replaced"},
}


class ProcessView(Shown):
    """A process, as it told of itself last."""

    id: str
    role: str
    state: Annotated[
        State,
        Field(
            description="`draining`: takes no more jobs, and has some in hand. `drained`: has none. "
            "`lost`: has been silent, and is most likely dead."
        ),
    ]
    host: str
    pid: int
    version: str
    started_at: Timestamp
    seen_at: Timestamp
    pools: list[str]
    consuming: Annotated[list[str], Field(description="Pools whose queues it consumes now.")]
    threads: int
    memory_bytes: int
    jobs: Annotated[list[InHandView], Field(description="At most 100.")]
    leads: Annotated[
        bool | None, Field(description="Whether it leads the timetable, if it is a scheduler.")
    ] = None
    drain: OrderView | None

    model_config = ConfigDict(json_schema_extra={"examples": [_PROCESS]})


class ProcessList(Shown):
    """All processes, by role and start. What has been lost for ten minutes is not among them."""

    processes: list[ProcessView]


_QUEUE: dict[str, JsonValue] = {
    "pool": "orders",
    "ready": 120,
    "consumers": 0,
    "oldest_at": TIME,
    "paused": {"by": ID, "at": TIME, "reason": "the provider is being replaced"},
    "workers": 2,
    "draining": 0,
    "in_hand": 0,
}


class QueueView(Shown):
    """One pool's queue."""

    pool: str
    ready: Annotated[int | None, Field(description="Messages in RabbitMQ; null while it does not tell.")]
    consumers: int | None
    oldest_at: Annotated[Timestamp | None, Field(description="When the longest waiting job was accepted.")]
    paused: OrderView | None
    workers: Annotated[int, Field(description="Worker processes of the pool that live.")]
    draining: Annotated[int, Field(description="Those of them that take no more jobs.")]
    in_hand: int

    model_config = ConfigDict(json_schema_extra={"examples": [_QUEUE]})


class QueueList(Shown):
    """All pools' queues."""

    queues: list[QueueView]


class Purge(Wire):
    """What to purge."""

    confirm: Annotated[
        str | None, Field(max_length=100, description="The pool's name. Not for a dry run.")
    ] = None
    kind: Annotated[str | None, Field(min_length=1, max_length=100, pattern=r"^[a-z_]+\.[a-z_]+$")] = None
    dry_run: Annotated[bool, Field(strict=True)] = False
    reason: Why | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm": "media", "reason": "ticket 4711"}]})


class PurgedView(Shown):
    """What a purge did; of a dry run, what it would do."""

    pool: str
    kind: str | None = None
    dry_run: bool
    cancelled: int
    by_kind: dict[str, int]
    refused: Annotated[int, Field(description="Jobs that a worker began meanwhile.")]
    more: Annotated[bool, Field(description="More is left than one purge takes: repeat it.")]
    dropped: Annotated[int | None, Field(description="Messages that were dropped from RabbitMQ.")] = None
    sample: list[str]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pool": "media", "dry_run": True, "cancelled": 2, "by_kind": {"media.render": 2},
                    "refused": 0, "more": False, "sample": [ID],
                }
            ]
        }
    )  # fmt: skip

    @classmethod
    def of(cls, purged: Purged, *, dry_run: bool) -> Self:
        """From what was done."""
        return cls(
            dry_run=dry_run, **{name: getattr(purged, name) for name in cls.model_fields if name != "dry_run"}
        )


class LastRun(Shown):
    """How an entry ran last."""

    at: Timestamp
    ms: int
    result: Annotated[int | None, Field(description="How many things it did something to.")]
    error: str | None = None


class LastDeed(Shown):
    """The last run that did anything."""

    at: Timestamp
    result: int


class LastFailure(Shown):
    """The last run that failed."""

    at: Timestamp
    error: str


class TimetableEntryView(Shown):
    """One entry of the timetable. What is told is a few seconds old."""

    name: str
    title: str
    every_ms: int
    by: Annotated[str, Field(description="The scheduler process that led.")]
    last: LastRun | None
    next_at: Timestamp | None
    did: LastDeed | None
    failed: LastFailure | None = None
    failing: Annotated[int, Field(description="Runs that failed without a break, up to the last.")]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "expire-holds", "title": "expire holds", "every_ms": 500, "by": ID,
                    "last": {"at": TIME, "ms": 3, "result": 0}, "next_at": TIME,
                    "did": {"at": TIME, "result": 2}, "failing": 0,
                }
            ]
        }
    )  # fmt: skip


class Schedule(Shown):
    """The timetable. Without a leader nothing of it happens."""

    leader: Annotated[
        str | None, Field(description="The process that leads; null where none that lives does.")
    ]
    entries: list[TimetableEntryView]


class RunView(Shown):
    """A run that was asked for."""

    id: str
    entry: str
    state: Annotated[
        Literal["running", "done", "failed"],
        Field(description="`running`: it takes longer than was waited for."),
    ]
    result: int | None
    error: str | None = None
    asked_at: Timestamp
    began_at: Timestamp | None
    ended_at: Timestamp | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID, "entry": "expire-holds", "state": "done", "result": 2, "asked_at": TIME,
                    "began_at": TIME, "ended_at": TIME,
                }
            ]
        }
    )  # fmt: skip


class ServiceView(Shown):
    """Whether a service answers."""

    name: str
    ok: bool
    error: str | None = None


class StatusView(Shown):
    """Everything at one glance."""

    at: Timestamp
    ok: bool
    attention: Annotated[list[str], Field(description="What needs it, in words; nothing while all is well.")]
    services: list[ServiceView]
    queues: list[QueueView]
    processes: dict[str, dict[str, int]]
    schedule: dict[str, int]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": TIME, "ok": False, "attention": ["`orders` has jobs and no worker that takes them"],
                    "services": [{"name": "mongodb", "ok": True}], "queues": [_QUEUE],
                    "processes": {"worker": {"working": 2}}, "schedule": {"entries": 13, "failing": 0},
                }
            ]
        }
    )  # fmt: skip
