"""Queues of a form that nobody uses any more: what is left of them, and their end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.errors import ServiceAway
from domain.jobs.commands import pools
from domain.ports import FormerQueue, JobQueue, QueueForm


@dataclass(frozen=True, slots=True)
class Retired:
    """The queues of a form that there were, and those of them that were deleted."""

    found: Sequence[FormerQueue]
    deleted: Sequence[str] = field(default=())

    @property
    def idle(self) -> list[str]:
        """Those that are empty and that nobody consumes."""
        return [each.name for each in self.found if each.idle]

    @property
    def kept(self) -> list[FormerQueue]:
        """Those that are still there."""
        return [each for each in self.found if each.name not in self.deleted]


class Retiring:
    """Deletes queues that are empty and that nobody consumes. What is in one is in the ledger, too."""

    def __init__(self, *, queue: JobQueue, audit_log: AuditLog) -> None:
        self._queue = queue
        self._audit_log = audit_log

    async def look(self, form: QueueForm) -> Retired:
        """Changes nothing. Raises ServiceAway while RabbitMQ does not say."""
        try:
            return Retired([each for pool in pools() for each in await self._queue.former(pool, form)])
        except ConnectionError as error:
            raise ServiceAway(service="RabbitMQ", reason=str(error)) from error

    async def delete(self, form: QueueForm, *, by: Actor, reason: str | None = None) -> Retired:
        """Keeps what has messages or consumers. May be repeated. Raises ServiceAway."""
        entry = Entry(by, "queues.delete", "queues", str(form), reason=reason)
        async with self._audit_log.acting(entry) as act:
            there = await self.look(form)
            deleted = [name for name in there.idle if await self._queue.delete(name)]
            act.after = {"deleted": deleted}
        return Retired(there.found, deleted)
