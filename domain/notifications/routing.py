"""From stored events to the jobs that deliver them: each way of delivery says which jobs an event needs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.changes import Doc
from domain.jobs.commands import Command
from domain.jobs.rules import SYSTEM
from domain.jobs.service import Jobs

#: Jobs that are submitted at once: a batch of events may need any number.
TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """One job that an event needs. `key` makes it one, however often the event is routed."""

    command: Command
    key: str
    subject: str | None = None


class Way(Protocol):
    """One way in which events reach somebody."""

    async def deliveries(self, events: Sequence[Doc]) -> Sequence[Delivery]:
        """The jobs that the events need. Cheap where there are none: it is asked about every event."""


class Routing:
    """What `Events.route_to` is given."""

    def __init__(self, jobs: Jobs, ways: Sequence[Way]) -> None:
        self._jobs = jobs
        self._ways = tuple(ways)

    async def route(self, events: Sequence[Doc]) -> None:
        """Submits the jobs of all ways. Raises PyMongoError where they could not be stored."""
        found = [delivery for way in self._ways for delivery in await way.deliveries(events)]
        for start in range(0, len(found), TOGETHER):
            await asyncio.gather(*(self._submit(delivery) for delivery in found[start : start + TOGETHER]))

    async def _submit(self, delivery: Delivery) -> None:
        await self._jobs.submit(delivery.command, owner=SYSTEM, key=delivery.key, subject=delivery.subject)
