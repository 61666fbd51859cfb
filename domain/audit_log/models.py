"""Entries of the audit log: as they are made, and as they are stored."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

import pymongo
from beanie import Document
from pymongo import IndexModel

AUDIT_LOG = "audit_log"

#: `begun`: nobody knows what became of it, as its process has died. `refused`: nothing was changed. `busy`:
#: others were faster, again and again, or what it needs does not answer; it can be tried again.
Outcome: TypeAlias = Literal["begun", "done", "refused", "busy", "failed"]
BEGUN: Outcome = "begun"
DONE: Outcome = "done"
REFUSED: Outcome = "refused"
BUSY: Outcome = "busy"
FAILED: Outcome = "failed"
OUTCOMES: tuple[Outcome, ...] = (BEGUN, DONE, REFUSED, BUSY, FAILED)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an account's id, or `cli:user@host`; and by what, such as `session:...` or `key:...`."""

    id: str
    via: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What somebody does to a thing.

    `action` is `feature.verb`, such as `jobs.replay`; the thing is known by its kind and id, such as `job`
    and the job's id, or `queue` and `orders`. `before` and `after` are JSON, and hold no secrets.
    """

    actor: Actor
    action: str
    thing: str
    thing_id: str
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


@dataclass(slots=True)
class Acting:
    """An act that is under way: what is set here is stored when it ends."""

    id: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = field(default=None)


class AuditEntry(Document):
    """One act, as stored. Nothing edits or deletes it; its own end completes one that had begun."""

    id: str  # type: ignore[assignment]  # a UUIDv7: its time is the act's
    at: datetime
    actor: str
    via: str
    request_id: str | None
    action: str
    thing: str
    thing_id: str
    reason: str | None
    outcome: str
    error: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    class Settings:
        """Where, and the ways it is read: whole, by who, by what was done, by the thing."""

        name = AUDIT_LOG
        indexes = (
            IndexModel([("at", pymongo.DESCENDING), ("_id", pymongo.DESCENDING)], name="by_time"),
            IndexModel([("actor", pymongo.ASCENDING), ("at", pymongo.DESCENDING)], name="by_actor"),
            IndexModel([("action", pymongo.ASCENDING), ("at", pymongo.DESCENDING)], name="by_action"),
            IndexModel([("thing_id", pymongo.ASCENDING), ("at", pymongo.DESCENDING)], name="by_thing"),
        )
