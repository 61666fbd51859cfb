"""The processes of the platform: each tells of itself, and ops drain workers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Database, Doc
from domain.control.errors import NotAWorker
from domain.control.models import CHANNEL, PROCESSES
from domain.control.rules import REMEMBERED, WORKER, State, state_of
from domain.errors import NotFound
from domain.observe import logger
from domain.ports import PubSub
from domain.values import Clock

log = logger(__name__)

#: Seconds that a stop may take to say so.
FAREWELL = 1.0
#: What a draining process is looked for by, without what it has in hand.
_DRAIN = {"drain": 1}


@dataclass(frozen=True, slots=True)
class JobInHand:
    """A job that a thread has begun, and that has not ended."""

    id: str
    kind: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What a process tells of itself with each beat."""

    memory_bytes: int
    jobs: Sequence[JobInHand] = ()
    consuming: Sequence[str] = ()
    leads: bool | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process tells of itself once."""

    id: str
    role: str
    host: str
    pid: int
    version: str
    started_at: datetime
    pools: tuple[str, ...] = ()
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as ops see it."""

    process: Doc
    state: State


class Processes:
    """Who is there. What a process last said is kept; whether it still lives is told by how long ago."""

    def __init__(
        self, *, database: Database, pubsub: PubSub, audit_log: AuditLog, every: timedelta, clock: Clock
    ) -> None:
        self._rows = database[PROCESSES]
        self._pubsub = pubsub
        self._audit_log = audit_log
        self._clock = clock
        #: Time between two beats of a process.
        self.every = every

    # -- as a process --

    async def beat(self, who: Identity, facts: Facts, *, drain: Doc | None) -> None:
        """Says that the process is there. `drain` is what it knows of its own, should it be forgotten."""
        told = {name: value for name, value in asdict(who).items() if name != "id"} | asdict(facts)
        update = {"$set": told | {"seen_at": self._clock()}, "$setOnInsert": {"drain": drain}}
        await self._rows.update_one({"_id": who.id}, update, upsert=True)

    async def drain_of(self, process_id: str) -> Doc | None:
        """Who wants the process to take no more jobs; None where nobody does."""
        row = await self._rows.find_one({"_id": process_id}, _DRAIN)
        return row.get("drain") if row else None

    async def leave(self, process_id: str) -> None:
        """Says that the process ends. Never raises: without it, it counts as lost for a while."""
        try:
            with pymongo.timeout(FAREWELL):
                await self._rows.delete_one({"_id": process_id})
        except PyMongoError as error:
            log.info("the process could not say that it ends", error=type(error).__name__)

    # -- as ops --

    async def find(self) -> list[Seen]:
        """All processes, by role and start. Those that were lost a while ago are left out."""
        rows = await self._rows.find({}).to_list()
        known = [row for row in rows if self._clock() - row["seen_at"] < REMEMBERED]
        return [self._seen(row) for row in sorted(known, key=lambda row: (row["role"], row["started_at"]))]

    async def get(self, process_id: str) -> Seen:
        """Raises NotFound."""
        row = await self._rows.find_one({"_id": process_id})
        if row is None:
            raise NotFound(process=process_id)
        return self._seen(row)

    async def drain(self, process_id: str, *, by: Actor, reason: str | None = None) -> Seen:
        """The worker finishes the jobs in hand and takes no more. It stays, so, until it is told otherwise.

        Idempotent: a second call changes nothing. Raises NotFound, and NotAWorker also for one that is lost.
        """
        found = await self.get(process_id)
        if found.process["role"] != WORKER or found.state == "lost":
            raise NotAWorker(process=process_id, role=found.process["role"], state=found.state)
        order = {"by": by.id, "at": self._clock(), "reason": reason}
        return await self._set("drain", found, order, by=by, reason=reason)

    async def undrain(self, process_id: str, *, by: Actor, reason: str | None = None) -> Seen:
        """The worker takes jobs again. Idempotent. Raises NotFound."""
        return await self._set("undrain", await self.get(process_id), None, by=by, reason=reason)

    async def sweep(self) -> int:
        """Forgets those that were lost a while ago; answers how many."""
        old = {"seen_at": {"$lt": self._clock() - REMEMBERED}}
        return (await self._rows.delete_many(old)).deleted_count

    async def _set(self, verb: str, found: Seen, order: Doc | None, *, by: Actor, reason: str | None) -> Seen:
        process_id, before = str(found.process["_id"]), found.process.get("drain")
        if (before is None) == (order is None):
            return found
        entry = Entry(by, f"workers.{verb}", "process", process_id, reason=reason, before=_named(found))
        async with self._audit_log.acting(entry) as act:
            changed = await self._rows.update_one({"_id": process_id}, {"$set": {"drain": order}})
            if not changed.matched_count:
                raise NotFound(process=process_id)
            act.after = {"drain": order is not None}
        await self._pubsub.publish([(CHANNEL, process_id)])
        return await self.get(process_id)

    def _seen(self, row: Doc) -> Seen:
        return Seen(row, state_of(row, now=self._clock(), every=self.every))


def _named(found: Seen) -> dict[str, Any]:
    process = found.process
    return {
        "host": process["host"], "pid": process["pid"], "pools": process["pools"],
        "drain": process.get("drain") is not None,
    }  # fmt: skip
