"""Events of all accounts in the order of their time, for listeners of `stockyard:events:{type}`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from domain.changes import Database, Doc
from domain.events.models import EVENTS, TIMES
from domain.values import Clock

#: A transaction is seen some time after the time of its events: whoever reads on begins so much earlier.
OVERLAP = timedelta(seconds=60)
#: How long ago they can be read. Each account's own are there for ever.
OLDEST = timedelta(days=31)
#: The shortest and longest span that is looked at at once, and how many of them one call looks at.
FIRST, LONGEST, SPANS = timedelta(seconds=1), timedelta(seconds=256), 100
#: Events that are asked for at once.
PART = 50

#: An event's time and id. The id is empty where all of that time are still to come.
Place: TypeAlias = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one call has read."""

    events: list[Doc]
    #: Where the next call goes on; None where it has come to now.
    place: Place | None


class Times:
    """Reads by time. Work is bounded per call, however long nothing has happened, and whatever has."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, place: Place, *, kind: str | None, limit: int) -> Reading:
        """Events after `place`, oldest first, at most `limit`; fewer, or none, where many spans are empty."""
        now, span = self._clock(), FIRST
        low = min(place[0], now)
        found: list[Place] = []
        for _ in range(SPANS):
            high = min(low + span, now)
            span = min(2 * span, LONGEST)
            if seen := await self._places(low, high, kind):
                found += [each for each in seen if each > place]
                span = FIRST
            low = high
            if len(found) > limit or low >= now:
                break
        shown = sorted(found)[:limit]
        if len(found) > limit:
            return Reading(await self._events(shown), shown[-1])
        return Reading(await self._events(shown), (low, "") if low < now else None)

    async def _places(self, low: datetime, high: datetime, kind: str | None) -> list[Place]:
        query: Doc = {"at": {"$gte": low, "$lt": high}} | ({"types": kind} if kind else {})
        return [
            (row["at"], event_id)
            async for row in self._database[TIMES].find(query)
            for event_id, each in zip(row["events"], row["types"], strict=True)
            if kind in (None, each)
        ]

    async def _events(self, places: Sequence[Place]) -> list[Doc]:
        by_id: dict[str, Doc] = {}
        ids = [event_id for _, event_id in places]
        for start in range(0, len(ids), PART):
            rows = self._database[EVENTS].find({"_id": {"$in": ids[start : start + PART]}})
            by_id |= {row["_id"]: row async for row in rows}
        return [by_id[event_id] for _, event_id in places]
