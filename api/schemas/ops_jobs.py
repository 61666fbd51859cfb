"""Jobs as ops see them, on the wire."""

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from api.ops_acts import Why
from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp, Wire
from api.schemas.jobs import JobState, JobView
from domain.jobs.bulk import FASTEST, SLOWEST, Plan
from domain.jobs.bulk_models import BulkAction
from domain.jobs.dead import Selection
from domain.values import Id, Text

#: A kind or code, as they are written.
Word = Annotated[Text, Field(max_length=100)]
GroupKey = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", examples=["4f2a9c0d1b7e8a63"])]


class FoundJobs(Shown):
    """Jobs, newest first. `searched_until` is set where the search ran out of time before it found all."""

    jobs: list[JobView]
    next_cursor: NextCursor
    searched_until: Annotated[
        Timestamp | None,
        Field(description="What was accepted before was not looked at: the next page goes on there."),
    ]


class Timings(Shown):
    """Milliseconds since the job was accepted; of its last run in `ran_ms`."""

    sent_ms: int | None
    waited_ms: int | None
    ran_ms: int | None
    total_ms: int | None


class Batch(Shown):
    """The transaction that settled the job with others."""

    id: str
    size: int


class RunError(Shown):
    """What a run failed of. `fault` and `trace` are there where it was no answer."""

    code: str
    fault: str | None = None
    trace: str | None = None


class Run(Shown):
    """One run of the job. What was settled in a batch has no beginning of its own."""

    worker: Annotated[str | None, Field(description="Host and process id.")]
    batch: Batch | None
    started_at: str | None
    ended_at: str | None
    outcome: str | None
    error: RunError | None
    note: str | None


class LongStep(Shown):
    """One line of the history, with what ops alone see."""

    state: JobState
    at: str
    note: str | None
    worker: str | None = None
    error: RunError | None = None
    batch: Batch | None = None
    bulk: str | None = None
    reason: str | None = None


class ToldEvent(Shown):
    """An event about the job or its subject."""

    id: str
    type: str
    time: str
    account_id: str
    seq: int
    subject: str


class JobDetail(JobView):
    """The whole story of a job. Secrets of the payload are masked."""

    pool: str
    key: str
    request_id: str | None
    version: int
    payload: dict[str, Any] | None
    dispatched_at: str | None
    lease_until: str | None
    failing_since: str | None
    timings: Timings
    history: list[LongStep] | None = None  # type: ignore[assignment]
    runs: list[Run]
    events: list[ToldEvent]
    links: dict[str, str]


class DeadGroup(Shown):
    """Dead jobs of one kind that have the same error. `text` is without ids, numbers and quoted parts."""

    group: str
    kind: str
    code: str
    text: str
    count: int
    first_at: Timestamp
    last_at: Timestamp
    sample: JobView


class DeadGroups(Shown):
    """The groups, the largest first."""

    groups: list[DeadGroup]
    jobs: int
    more: Annotated[bool, Field(description="There are dead jobs that were not looked at.")]


class Chosen(Wire):
    """Which dead jobs: all that every given member fits."""

    group: GroupKey | None = None
    kind: Word | None = None
    code: Word | None = None
    job_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1000)] | None = None
    since: Annotated[AwareDatetime, Field(description="Died at this time, or later.")] | None = None
    until: Annotated[AwareDatetime, Field(description="Died before.")] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a selection names something")
        return self

    def selection(self) -> Selection:
        """As the domain has it."""
        return Selection(**{name: getattr(self, name) for name in type(self).model_fields})


class BulkOrder(Wire):
    """What is to be done with which dead jobs, how fast and why."""

    action: BulkAction
    select: Chosen
    rate: Annotated[
        float, Field(strict=False, ge=SLOWEST, le=FASTEST, allow_inf_nan=False, description="Jobs a second.")
    ] = 20.0
    reason: Why | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "action": "replay",
                    "select": {"group": "4f2a9c0d1b7e8a63"},
                    "rate": 10,
                    "reason": "the provider is back",
                }
            ]
        }
    )

    def plan(self) -> Plan:
        """As the domain has it."""
        return Plan(self.action, self.select.selection(), rate=self.rate, reason=self.reason)


class RefusalView(Shown):
    """A job that is not taken, and why."""

    job_id: str
    code: str


class BulkPreview(Shown):
    """What a bulk run would do now. Nothing was changed."""

    action: BulkAction
    jobs: int
    by_kind: dict[str, int]
    samples: list[JobView]
    refused: int
    refusals: list[RefusalView]
    seconds: float
    more: bool


class BulkView(Shown):
    """A bulk run, and how far it is."""

    id: str
    action: BulkAction
    selection: dict[str, Any]
    rate: float
    state: Annotated[
        Literal["queued", "running", "done", "stopped"],
        Field(description="`stopped`: ops stopped it, and what was done by then is done."),
    ]
    size: int
    taken: int
    done: int
    refused: int
    refusals: list[RefusalView]
    actor: str
    reason: str | None
    stop_by: str | None
    created_at: Timestamp
    ended_at: Timestamp | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID, "action": "replay", "selection": {"kind": "orders.pay"}, "rate": 10.0,
                    "state": "stopped", "size": 240, "taken": 80, "done": 79, "refused": 1,
                    "refusals": [{"job_id": ID, "code": "job_not_replayable"}], "actor": ID,
                    "reason": "the provider is back", "stop_by": ID, "created_at": TIME, "ended_at": TIME,
                }
            ]
        }
    )  # fmt: skip


class BulkList(Shown):
    """The last bulk runs, newest first."""

    runs: list[BulkView]
