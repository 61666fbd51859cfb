"""Imports and exports as stored."""

from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pymongo import IndexModel

TRANSFERS = "product_transfers"
REFUSED_ROWS = "refused_rows"

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
#: Seconds before files are looked for again while the object store is away.
PAUSE = 5.0
#: What an import counts its rows as.
OUTCOMES = ("created", "updated", "unchanged", "refused")


class Transfer(Document):
    """An import that was accepted, or an export that was written. Its id is its job's."""

    id: str  # type: ignore[assignment]
    kind: str
    owner: str
    file: str
    form: str
    state: str
    #: Rows that are done: where another run goes on.
    rows: int
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    reason: dict[str, Any] | None = None
    started_at: datetime
    finished_at: datetime | None = None

    class Settings:
        """Where, and how old ones are found."""

        name = TRANSFERS
        indexes = (IndexModel([("finished_at", pymongo.ASCENDING)], name="by_end"),)


class RefusedRow(Document):
    """A row that an import did not take. The ids of one import's rows sort as its lines do."""

    id: str  # type: ignore[assignment]  # refused_id(import_id, line)
    line: int
    sku: str | None
    code: str
    field: str | None
    message: str

    class Settings:
        """Where."""

        name = REFUSED_ROWS


def refused_id(import_id: str, line: int) -> str:
    """The id of the row that begins on this line."""
    return f"{import_id}:{line:012}"
