"""Jobs on the wire."""

from typing import Any, Literal

from api.schemas.common import NextCursor, Shown

JobState = Literal["queued", "running", "succeeded", "failed", "dead", "cancelled"]


class StepView(Shown):
    """One line of a job's history."""

    state: JobState
    at: str
    note: str | None


class JobView(Shown):
    """A job. `subject` is what it is about, such as the order that a payment is for."""

    id: str
    kind: str
    state: JobState
    owner: str
    subject: str | None
    attempts: int
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    not_before: str | None
    history: list[StepView] | None = None


class JobPage(Shown):
    """Jobs without their history, newest first."""

    jobs: list[JobView]
    next_cursor: NextCursor
