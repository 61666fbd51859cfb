"""An account's inbox: a view over its events, with what is read. Nothing is stored for an event."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from domain.changes import Database, Doc
from domain.errors import Invalid
from domain.events.models import EVENTS
from domain.events.service import Events
from domain.notifications.models import READ_MARKS
from domain.notifications.preferences import Preferences
from domain.notifications.rules import SHOWN_BY, Choices, Marks, in_inbox
from domain.values import new_id

#: Events of one read, and reads of one page or count: what it costs is bounded whatever the account has.
WINDOW = 200
WINDOWS = 10
#: The greatest count of what is unread.
MOST_COUNTED = 999


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in an inbox."""

    event: Doc
    read: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """How many are unread; `more` where there may be more than that."""

    count: int
    more: bool


@dataclass(frozen=True, slots=True)
class _View:
    """What an account sees."""

    choices: Choices
    marks: Marks
    last: int

    def shows(self, event: Mapping[str, Any], *, unread: bool) -> bool:
        """Whether the event is in the inbox."""
        return in_inbox(self.choices, event) and not (unread and self.marks.has(event["seq"]))


class Inbox:
    """Reads by `seq`, newest first, in windows."""

    def __init__(self, *, database: Database, events: Events, preferences: Preferences) -> None:
        self._database = database
        self._events = events
        self._preferences = preferences

    async def page(
        self, account_id: str, *, before: int | None, limit: int, unread: bool = False
    ) -> tuple[list[Entry], int | None]:
        """Entries with a lesser `seq` than `before`, newest first, and where the next page begins.

        A page may have fewer entries than `limit`, even none, and yet a next one: the walk ends after 2,000
        events.
        """
        view = await self._view(account_id)
        floor = view.marks.upto if unread else 0
        entries: list[Entry] = []
        reached = view.last + 1 if before is None else min(before, view.last + 1)
        async for low, events in self._windows(account_id, reached, floor):
            for event in events:
                if not view.shows(event, unread=unread):
                    continue
                if len(entries) == limit:
                    return entries, int(entries[-1].event["seq"])
                entries.append(Entry(event, view.marks.has(event["seq"])))
            reached = low
        return entries, reached if reached > floor + 1 else None

    async def unread(self, account_id: str) -> Unread:
        """How many entries are unread, counted from the newest, 999 at most."""
        view, count = await self._view(account_id), 0
        reached, floor = view.last + 1, view.marks.upto
        async for low, events in self._windows(account_id, reached, floor, SHOWN_BY):
            count += sum(view.shows(event, unread=True) for event in events)
            if count > MOST_COUNTED:
                return Unread(MOST_COUNTED, more=True)
            reached = low
        return Unread(count, more=reached > floor + 1)

    async def read(self, account_id: str, *, seqs: Collection[int] = (), upto: int = 0) -> None:
        """Marks these, and all up to `upto`. Idempotent. Raises Invalid for what has not happened yet."""
        last = await self._events.last(account_id)
        if max(upto, *seqs, 0) > last:
            raise Invalid(reason="unknown_seq", last_seq=last)
        rows = self._database[READ_MARKS]
        marks = _marks(await rows.find_one({"_id": account_id}))
        if marks.add(seqs, upto=upto) == marks:
            return
        # Requests at once are all kept, whichever comes first.
        more = {"$max": {"upto": upto}, "$addToSet": {"beyond": {"$each": sorted(set(seqs))}}}
        update = {**more, "$set": {"revision": new_id()}}
        await rows.update_one({"_id": account_id}, update, upsert=True)
        await self._compact(account_id)

    async def _compact(self, account_id: str) -> None:
        """Moves the mark up. A request that comes in between does it instead, with these marks, too."""
        rows = self._database[READ_MARKS]
        row = await rows.find_one({"_id": account_id})
        if row is None:
            return
        marks = _marks(row)
        after = marks.add((), hidden=await self._hidden(account_id, marks.upto))
        if after != marks:
            fields = {"upto": after.upto, "beyond": sorted(after.beyond), "revision": new_id()}
            await rows.update_one({"_id": account_id, "revision": row["revision"]}, {"$set": fields})

    async def _hidden(self, account_id: str, after: int) -> set[int]:
        """The next seqs that the account's inbox does not show."""
        query = {"account_id": account_id, "seq": {"$gt": after, "$lte": after + WINDOW}}
        choices = (await self._preferences.of(account_id)).choices
        rows = self._database[EVENTS].find(query, SHOWN_BY)
        return {row["seq"] async for row in rows if not in_inbox(choices, row)}

    async def _view(self, account_id: str) -> _View:
        chosen, row, last = await asyncio.gather(
            self._preferences.of(account_id),
            self._database[READ_MARKS].find_one({"_id": account_id}),
            self._events.last(account_id),
        )
        return _View(chosen.choices, _marks(row), last)

    async def _windows(
        self, account_id: str, before: int, floor: int, fields: Mapping[str, int] | None = None
    ) -> AsyncIterator[tuple[int, list[Doc]]]:
        """Events before `before` and after `floor`, newest first, each time with the least seq looked at."""
        for _ in range(WINDOWS):
            low = max(floor + 1, before - WINDOW)
            if low >= before:
                return
            query = {"account_id": account_id, "seq": {"$gte": low, "$lt": before}}
            yield low, await self._database[EVENTS].find(query, fields).sort("seq", -1).to_list()
            before = low


def _marks(row: Doc | None) -> Marks:
    return Marks(row["upto"], frozenset(row["beyond"])) if row else Marks()
