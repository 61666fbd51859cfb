"""Events as stored."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pymongo import IndexModel

EVENTS = "events"
CURSORS = "event_cursors"
OUTBOX = "event_outbox"
TIMES = "event_times"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that a transaction is about to make true; its type is declared, see `registry`."""

    account_id: str
    type: str
    subject: str
    data: dict[str, Any]
    #: The job that makes it; left out by what a job does by itself, see `making`.
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Events that a transaction stores, to be published once it has."""

    outbox_id: str
    events: tuple[dict[str, Any], ...]


class Event(Document):
    """Something that happened. `seq` counts an account's events from 1, without gaps."""

    id: str  # type: ignore[assignment]  # a UUIDv7 of ours, not an ObjectId
    account_id: str
    seq: int
    type: str
    #: The version of the type's `data`; left out while it is 1.
    version: int = 1
    subject: str
    time: datetime
    data: dict[str, Any]
    #: The job that made it; None where none did. Older events lack it.
    job_id: str | None = None

    class Settings:
        """Where, and the one way they are read."""

        name = EVENTS
        indexes = (
            IndexModel(
                [("account_id", pymongo.ASCENDING), ("seq", pymongo.ASCENDING)],
                unique=True,
                name="by_account",
            ),
        )


class EventCursor(Document):
    """The last `seq` of an account; the guard that keeps the count without gaps."""

    id: str  # type: ignore[assignment]  # the account's id
    seq: int = 0

    class Settings:
        """Where."""

        name = CURSORS


class EventOutbox(Document):
    """The events of one transaction that nobody has routed and published yet; deleted once they are."""

    id: str  # type: ignore[assignment]  # a UUIDv7: its time is the transaction's
    events: list[str]
    #: Handed to the router, and not published: Redis is away.
    routed: bool = False

    class Settings:
        """Where."""

        name = OUTBOX


class EventTimes(Document):
    """Which events one transaction stored, and when: how those of all accounts are read in time's order.

    One row and one entry of an index per transaction, where an index of the events would be an entry for
    each of them.
    """

    id: str  # type: ignore[assignment]  # the outbox row's
    at: datetime
    events: list[str]
    #: Of `events`, one by one.
    types: list[str]

    class Settings:
        """Where, and the one way they are read."""

        name = TIMES
        indexes = (IndexModel([("at", pymongo.ASCENDING)], name="by_time"),)
