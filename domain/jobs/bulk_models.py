"""Bulk runs over dead jobs, as stored."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import pymongo
from beanie import Document
from pydantic import Field
from pymongo import IndexModel

from domain.jobs.commands import Command

BULK_RUNS = "bulk_runs"

#: Run again, or cancel for good.
BulkAction: TypeAlias = Literal["replay", "discard"]
REPLAY: BulkAction = "replay"
DISCARD: BulkAction = "discard"

#: `stopped`: ops cancelled it, and what was done by then is done.
WAITING, WORKING, DONE, STOPPED = "queued", "running", "done", "stopped"


class RunBulk(Command):
    """Do what a bulk run says. The job's id is the run's."""

    kind = "jobs.bulk"
    pool = "inventory"


class BulkRun(Document):
    """What is to be done with which dead jobs, and how far it is."""

    id: str  # type: ignore[assignment]  # the id of its job
    action: str
    selection: dict[str, Any]
    #: The jobs in the order in which they are taken; emptied at the end.
    job_ids: list[str]
    size: int
    #: Jobs a second.
    rate: float
    #: A job that died after this is none of the run's.
    died_by: datetime
    actor: str
    via: str
    request_id: str | None
    reason: str | None
    state: str
    #: How many of the jobs were taken, and what became of them.
    taken: int = 0
    done: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = Field(default_factory=list)
    stop_by: str | None = None
    created_at: datetime
    ended_at: datetime | None = None

    class Settings:
        """Where, and how the last ones are found."""

        name = BULK_RUNS
        indexes = (IndexModel([("created_at", pymongo.DESCENDING)], name="by_time"),)
