"""Jobs that have failed for the last time: their end and what is told of it, in one transaction."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.models import NewEvent
from domain.events.rules import SHOP, cursor_lock
from domain.events.service import Events
from domain.jobs.models import JOBS, Claimed
from domain.jobs.rules import SYSTEM
from domain.ports import Locks
from domain.values import Clock

#: How often a transaction is begun anew because others recorded an event of the same account.
TRIES = 8


@dataclass(frozen=True, slots=True)
class Death:
    """How one job is made dead: `query` finds it only in the state that it leaves."""

    query: Doc
    update: Doc
    kind: str
    owner: str
    subject: str | None

    @classmethod
    def of(cls, job: Claimed, query: Doc, update: Doc) -> Self:
        """Of a job that was claimed; `update` sets `attempts` and `error`."""
        return cls(query, update, kind=job.kind, owner=job.owner, subject=job.subject)

    @classmethod
    def of_row(cls, row: Doc, query: Doc, update: Doc) -> Self:
        """Of a stored job."""
        return cls(query, update, kind=row["kind"], owner=row["owner"], subject=row.get("subject"))

    @property
    def job_id(self) -> str:
        """Whose it is."""
        return str(self.query["_id"])

    def events(self) -> list[NewEvent]:
        """What the shop is told, and the owner where that is an account; not the fault, which is for ops."""
        fields = self.update["$set"]
        data: dict[str, Any] = {
            "job_id": self.job_id,
            "kind": self.kind,
            "owner": self.owner,
            "subject": self.subject,
            "attempts": fields["attempts"],
            "code": fields["error"]["code"],
            "message": fields["error"]["message"],
        }
        told = [SHOP] if self.owner in (SYSTEM, SHOP) else [SHOP, self.owner]
        return [NewEvent(whose, "job.dead", self.job_id, data, self.job_id) for whose in told]


class Deaths:
    """Makes jobs dead."""

    def __init__(self, *, database: Database, events: Events, locks: Locks, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._locks = locks
        self._clock = clock

    async def record(self, deaths: Sequence[Death]) -> set[str]:
        """Ids of the jobs that are dead by this call; the others were not in the state for it.

        One of which a commit's answer was lost is not among them, and is told of all the same. Raises
        TryAgain where others kept recording events of the same accounts.
        """
        left = {death.job_id: death for death in deaths}
        for tried in range(TRIES):
            if not left:
                return set()
            await asyncio.sleep(random.uniform(0, 0.02 * tried))
            missed = await self._try(list(left.values()), self._clock())
            if missed is None:
                return set(left)
            left = {job_id: death for job_id, death in left.items() if job_id not in missed}
        raise TryAgain("others kept recording events of the same accounts")

    async def _try(self, deaths: Sequence[Death], at: datetime) -> set[str] | None:
        """None where all is done; else nothing is, and these are the jobs that cannot be made dead."""
        changes = Changes()
        for death in deaths:
            changes.update(JOBS, death.query, death.update, expect=1, name=death.job_id)
        events = [event for death in deaths for event in death.events()]
        owners = sorted({event.account_id for event in events})
        async with self._locks.hold([cursor_lock(owner) for owner in owners]):
            cursors = await self._events.cursors(owners)
            recorded = self._events.record(changes, events, cursors=cursors, at=at)
            try:
                await changes.commit(self._database)
            except GuardFailed as error:
                return {death.job_id for death in deaths} & set(error.guards)
        self._events.publish(recorded)
        return None
