"""The events of a stretch of time that an endpoint can have."""

from collections.abc import AsyncIterator
from datetime import datetime

from domain.changes import Database, Doc
from domain.events.models import EVENTS
from domain.events.rules import SHOP
from domain.events.service import Events
from domain.events.times import OVERLAP

#: Events that are read at once.
READ = 200


class EventRange:
    """Reads by time: of one account by its `seq`, of the shop over all accounts."""

    def __init__(self, *, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def read(self, owner: str, *, since: datetime, until: datetime) -> AsyncIterator[list[Doc]]:
        """Events with `since <= time < until`, in parts, about in the order of time."""
        parts = self._of_all(since, until) if owner == SHOP else self._of(owner, since, until)
        async for part in parts:
            found = [event for event in part if since <= event["time"] < until]
            if found:
                yield found

    async def _of_all(self, since: datetime, until: datetime) -> AsyncIterator[list[Doc]]:
        place = (since, "")
        while place[0] < until:
            reading = await self._events.times.read(place, kind=None, limit=READ)
            yield reading.events
            if reading.place is None:
                return
            place = reading.place

    async def _of(self, account_id: str, since: datetime, until: datetime) -> AsyncIterator[list[Doc]]:
        seq = await self._before(account_id, since)
        while part := await self._events.after(account_id, seq, limit=READ):
            yield part
            seq = part[-1]["seq"]
            if part[-1]["time"] - OVERLAP >= until:
                return

    async def _before(self, account_id: str, at: datetime) -> int:
        """A `seq` after which everything from `at` on follows: found by halving, as times grow with it."""
        low, high = 0, await self._events.last(account_id)
        while low < high:
            middle = (low + high + 1) // 2
            row = await self._database[EVENTS].find_one({"account_id": account_id, "seq": middle})
            if row is not None and row["time"] + OVERLAP < at:
                low = middle
            else:
                high = middle - 1
        return low
