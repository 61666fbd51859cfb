"""The audit log, timelines of orders, and what is stuck, on the wire."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.ops_acts import Why
from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp, Wire
from api.schemas.jobs import JobState
from domain.values import Text


class ActView(Shown):
    """What somebody did, to what, when and why."""

    id: str
    at: Timestamp
    actor: Annotated[str, Field(description="An account's id, or `cli:user@host`.")]
    via: Annotated[str, Field(description="`session:` or `key:` with its id, or `cli`.")]
    request_id: str | None
    action: str
    thing: str
    thing_id: str
    reason: str | None
    outcome: Annotated[
        Literal["begun", "done", "refused", "busy", "failed"],
        Field(
            description="`begun` for long: the process died, and it may or may not have been done. `busy`: it"
            " was not decided, and may be tried again."
        ),
    ]
    error: dict[str, Any] | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID, "at": TIME, "actor": ID, "via": f"session:{ID}", "request_id": ID,
                    "action": "jobs.replay", "thing": "job", "thing_id": ID, "reason": "ticket 4711",
                    "outcome": "refused", "error": {"code": "job_not_replayable", "detail": {}},
                    "before": {"state": "queued"}, "after": {},
                }
            ]
        }
    )  # fmt: skip


class AuditLogPage(Shown):
    """Entries, newest first."""

    entries: list[ActView]
    next_cursor: NextCursor


class TimelineLine(Shown):
    """One thing that happened to the order."""

    at: str
    source: Literal["api", "queue", "worker", "order", "payment", "hold", "event", "delivery", "ops"]
    says: str
    facts: dict[str, Any]


class JobOf(Shown):
    """A job about the order."""

    id: str
    kind: str
    state: JobState


class Timeline(Shown):
    """An order's story, oldest first."""

    order_id: str
    account_id: str
    state: str
    lines: list[TimelineLine]
    jobs: list[JobOf]
    complete: Annotated[
        bool, Field(description="False where a job's history was compacted, or not all jobs were found.")
    ]


class StuckView(Shown):
    """Something that should have moved by now, why it has not, and what helps."""

    what: str
    thing: Literal["job", "hold", "order", "events"]
    id: str
    since: Timestamp
    seconds: int
    says: str
    repair: Annotated[str | None, Field(description="What to hand to the repair; null: nothing to do here.")]
    kind: str | None
    pool: str | None
    subject: str | None


class StuckList(Shown):
    """What is stuck, the oldest first; nothing, while all is well."""

    stuck: list[StuckView]


class RepairOrder(Wire):
    """What to do with what."""

    repair: Literal["expedite", "replay", "take_back", "end_hold", "republish"]
    id: Annotated[Text, Field(max_length=100)]
    reason: Why | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"repair": "end_hold", "id": ID, "reason": "the scheduler was down"}]}
    )


class Repaired(Shown):
    """What was done: the job's state, or how many were ended, taken back or told."""

    repair: str
    id: str
    state: str | None = None
    taken_back: int | None = None
    expired: int | None = None
    told: int | None = None
