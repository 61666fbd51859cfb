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
#: The shortest and longest span that is looked at at once, and how many of them one call looks at. A month of
#: silence is some 750 of the longest.
FIRST, LONGEST, SPANS = timedelta(seconds=1), timedelta(hours=1), 100
#: The longest span where one type is looked for: where it has no rows, others may have many.
LONGEST_OF_TYPE = timedelta(seconds=256)
#: Rows of a span beyond which a shorter one is looked at; of the shortest one all are read.
ROWS = 500
#: How long rows are kept: a day more, for whoever is still reading.
KEPT = OLDEST + timedelta(days=1)
#: Rows that one sweep deletes at most, and about how many of them at once.
SWEEP, SWEEP_PART = 50_000, 2000
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
        longest = LONGEST if kind is None else LONGEST_OF_TYPE
        low = min(place[0], now)
        found: list[Place] = []
        for _ in range(SPANS):
            high = min(low + span, now)
            seen = await self._places(low, high, kind)
            if seen is None:
                # After a silence much has happened.
                span = max(span / 8, FIRST)
                continue
            found += [each for each in seen if each > place]
            span, low = FIRST if seen else min(2 * span, longest), high
            if len(found) > limit or low >= now:
                break
        shown = sorted(found)[:limit]
        if len(found) > limit:
            return Reading(await self._events(shown), shown[-1])
        return Reading(await self._events(shown), (low, "") if low < now else None)

    async def sweep(self) -> int:
        """Deletes the oldest of the rows that nobody can read any more; answers how many. The events stay."""
        old = self._database[TIMES].find({"at": {"$lt": self._clock() - KEPT}}, {"_id": 0, "at": 1})
        times = [row["at"] for row in await old.sort("at").limit(SWEEP).to_list()]
        deleted = 0
        for start in range(0, len(times), SWEEP_PART):
            upto = times[start : start + SWEEP_PART][-1]
            deleted += (await self._database[TIMES].delete_many({"at": {"$lte": upto}})).deleted_count
        return deleted

    async def _places(self, low: datetime, high: datetime, kind: str | None) -> list[Place] | None:
        """None where there are too many to be read at once."""
        query: Doc = {"at": {"$gte": low, "$lt": high}} | ({"types": kind} if kind else {})
        most = ROWS if high - low > FIRST else 0
        rows = await self._database[TIMES].find(query).limit(most).to_list()
        if most and len(rows) >= most:
            return None
        return [
            (row["at"], event_id)
            for row in rows
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
