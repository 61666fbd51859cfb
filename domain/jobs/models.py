"""The ledger's documents."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel
from pymongo import IndexModel

from domain.jobs.rules import DEAD, QUEUED, RUNNING

JOBS = "jobs"
PROGRESS_MARKS = "ledger_marks"


class Step(BaseModel):
    """One line of a job's history."""

    state: str
    at: datetime
    note: str | None = None
    #: Who ran it: host and process id.
    worker: str | None = None
    #: Of a run that failed: `code`, and of a fault `fault` and `trace`.
    error: dict[str, Any] | None = None
    #: The transaction that settled it with others: `id` and `size`.
    batch: dict[str, Any] | None = None


class Job(Document):
    """One piece of work. The ledger is the outbox: a job is accepted once this is stored.

    `not_before` is when the relay sends a queued job (again): long after it was accepted or sent, at once
    where RabbitMQ did not confirm it, and after the pause before another run.
    """

    id: str  # type: ignore[assignment]  # a UUIDv7 of ours; for `orders.place` the order's id too
    kind: str
    pool: str
    owner: str
    key: str
    fingerprint: str
    payload: dict[str, Any] | None
    #: Of the payload's form; see `Command.version`.
    version: int = 1
    state: str
    attempts: int = 0
    created_at: datetime
    not_before: datetime
    dispatched_at: datetime | None = None
    #: Since when it waits, or will, where that is not since it was accepted: it has run before.
    waits_since: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt_id: str | None = None
    lease_until: datetime | None = None
    #: When the first of the runs failed that have failed without a break.
    failing_since: datetime | None = None
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    history: list[Step] | None = None
    request_id: str | None = None
    #: Of the span that it was accepted in, see `domain/telemetry.py`.
    traceparent: str | None = None
    subject: str | None = None

    class Settings:
        """Where, and the ways it is read: by key, by owner, by what the relay and ops look for."""

        name = JOBS
        indexes = (
            IndexModel(
                [("owner", pymongo.ASCENDING), ("kind", pymongo.ASCENDING), ("key", pymongo.ASCENDING)],
                unique=True,
                name="by_key",
            ),
            IndexModel([("owner", pymongo.ASCENDING), ("_id", pymongo.DESCENDING)], name="by_owner"),
            IndexModel(
                [("pool", pymongo.ASCENDING), ("not_before", pymongo.ASCENDING)],
                partialFilterExpression={"state": QUEUED},
                name="waiting",
            ),
            IndexModel(
                [("lease_until", pymongo.ASCENDING)],
                partialFilterExpression={"state": RUNNING},
                name="leased",
            ),
            IndexModel([("_id", pymongo.DESCENDING)], partialFilterExpression={"state": DEAD}, name="dead"),
        )


class LedgerMark(Document):
    """How far a sweep over the ledger has come."""

    id: str  # type: ignore[assignment]
    upto: str
    #: Jobs that were still open when the sweep passed them.
    open: list[str]

    class Settings:
        """Where."""

        name = PROGRESS_MARKS


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this worker has to itself until its lease ends."""

    id: str
    kind: str
    owner: str
    attempt_id: str
    attempts: int
    payload: dict[str, Any]
    subject: str | None
    request_id: str | None
    created_at: datetime
    failing_since: datetime | None
    pool: str
    version: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a submission."""

    job_id: str
    state: str
    replayed: bool
