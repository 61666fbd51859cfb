"""Services, pools, processes and the timetable at one glance, and what needs attention, in words."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import PyMongoError

from domain.control.asking import Answer, Ping, ask_all
from domain.control.processes import Processes, Seen
from domain.control.queues import PoolQueue, Queues
from domain.control.rules import WORKER
from domain.control.timetable import EntrySeen, Timetables
from domain.jobs.pool_reports import in_words
from domain.values import Clock

#: A job that has waited longer is worth a word, and an entry that is overdue by as much.
LONG = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Health:
    """Everything at one moment. `attention` is empty while all is well."""

    at: datetime
    services: Sequence[Answer]
    queues: Sequence[PoolQueue]
    processes: Sequence[Seen]
    schedule: Sequence[EntrySeen]
    attention: Sequence[str]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many processes there are, by role and state."""
        found: dict[str, dict[str, int]] = {}
        for each in self.processes:
            of_role = found.setdefault(each.process["role"], {})
            of_role[each.state] = of_role.get(each.state, 0) + 1
        return found


class Status:
    """Looks at everything once."""

    def __init__(
        self,
        *,
        pings: Mapping[str, Ping],
        queues: Queues,
        processes: Processes,
        timetables: Timetables,
        clock: Clock,
    ) -> None:
        self._pings = pings
        self._queues = queues
        self._processes = processes
        self._timetables = timetables
        self._clock = clock

    async def look(self) -> Health:
        """Never raises for a service that is away: then nothing is known of what it keeps."""
        # Side by side: one that hangs holds up as long as all of them.
        services, kept = await asyncio.gather(ask_all(self._pings), self._kept())
        now = self._clock()
        attention = [f"`{each.name}` does not answer" for each in services if not each.ok]
        if kept is None:
            return Health(now, services, (), (), (), attention)
        queues, processes, schedule = kept
        attention += [
            *_of_queues(queues, now),
            *_of_processes(processes),
            *_of_schedule(schedule, processes, now),
        ]
        return Health(now, services, queues, processes, schedule, attention)

    async def _kept(self) -> tuple[Sequence[PoolQueue], Sequence[Seen], Sequence[EntrySeen]] | None:
        """None where the store is away."""
        try:
            return (
                await self._queues.find(),
                await self._processes.find(),
                await self._timetables.find(),
            )
        except PyMongoError:
            return None


def _of_queues(queues: Sequence[PoolQueue], now: datetime) -> list[str]:
    found = []
    for each in queues:
        waits = now - each.oldest_at if each.oldest_at else timedelta()
        if each.paused:
            why = f": {each.paused['reason']}" if each.paused.get("reason") else ""
            found.append(f"`{each.pool}` is paused by {each.paused['by']}{why}")
        elif each.workers == each.draining and each.oldest_at:
            found.append(f"`{each.pool}` has jobs and no worker that takes them")
        elif waits > LONG:
            found.append(f"`{each.pool}`: its oldest job has waited {in_words(waits.total_seconds())}")
    return found


def _of_processes(processes: Sequence[Seen]) -> list[str]:
    found = []
    for each in processes:
        process = each.process
        name = f"the {process['role']} {process['pid']} on {process['host']}"
        if each.state == "lost":
            found.append(f"{name} has been silent since {process['seen_at']:%H:%M:%S} UTC")
        elif process["role"] == WORKER and each.state != "working":
            found.append(f"{name} is drained by {process['drain']['by']}")
    return found


def _of_schedule(schedule: Sequence[EntrySeen], processes: Sequence[Seen], now: datetime) -> list[str]:
    if not any(each.process.get("leads") for each in processes if each.state != "lost"):
        return ["no scheduler leads the timetable"]
    found = [_of_entry(each.entry, each.next_at, now) for each in schedule]
    return [line for line in found if line]


def _of_entry(entry: Mapping[str, Any], next_at: datetime | None, now: datetime) -> str | None:
    if entry["failing"]:
        return f"`{entry['name']}` has failed ({entry['failing']} in a row): {entry['last']['error']}"
    if next_at is not None and now - next_at > LONG:
        return f"`{entry['name']}` is overdue by {in_words((now - next_at).total_seconds())}"
    return None
