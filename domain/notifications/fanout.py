"""One event of the shop becomes an event of each account that waits for it.

A first job splits those who wait into parts, and a job for each part tells them. A part has a mark, how far
it is. That moves in the transaction that records the events, so that each account is told once, however
often a part is run and wherever it was cut short.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import DomainError, TryAgain
from domain.events.models import EVENTS, NewEvent
from domain.events.rules import SHOP, cursor_lock
from domain.events.service import Events
from domain.jobs.rules import SYSTEM
from domain.jobs.service import Jobs
from domain.notifications.commands import FanOut, FanOutPart
from domain.notifications.models import FAN_OUT_PARTS, SUBSCRIPTIONS
from domain.notifications.routing import Delivery
from domain.notifications.rules import TOPICS, watch_of
from domain.notifications.subscriptions import NameOf, Subscriptions, id_of
from domain.ports import Locks
from domain.values import Clock

#: Accounts of one part, and of one transaction.
PART, STEP = 1000, 50
#: Whoever began to wait so soon after the event's time is told, too. That time is read before the
#: transaction, which may take so long, and by another clock: until it is seen, who looks finds nothing there.
LATE = timedelta(seconds=10)
#: How long marks and ended subscriptions are kept: longer than a job is tried.
KEPT = timedelta(days=30)
#: How often a step is tried again where somebody else was first.
TRIES = 8


class FanOutWay:
    """The way of events to those who have subscribed."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    async def deliveries(self, events: Sequence[Doc]) -> Sequence[Delivery]:
        """One job for each event that somebody waits for."""
        return [
            Delivery(FanOut(event_id=event["_id"]), key=event["_id"], subject=event["subject"])
            for event in events
            if event["account_id"] == SHOP and event["type"] in TOPICS and await self._is_awaited(event)
        ]

    async def _is_awaited(self, event: Doc) -> bool:
        watch = watch_of(event["type"], event["subject"])
        return await self._subscriptions.anybody(watch, since=event["time"] + LATE)


class FanOuts:
    """Splits and tells. Both verbs may be run again, and by several at once."""

    def __init__(
        self,
        *,
        database: Database,
        events: Events,
        jobs: Jobs,
        locks: Locks,
        name_of: NameOf,
        clock: Clock,
    ) -> None:
        self._database = database
        self._events = events
        self._jobs = jobs
        self._locks = locks
        self._name_of = name_of
        self._clock = clock

    # -- splitting --

    async def split(self, event_id: str) -> Doc:
        """Writes the parts down and submits a job for each. The parts of a first run are kept by a second."""
        event = await self._event(event_id)
        number, after = 0, ""
        while part := await self._stored(event_id, number):
            await self._submit(event, number)
            number, after = number + 1, part["accounts"][-1]
        async for accounts in self._parts(event, after):
            await self._write(event_id, number, accounts)
            await self._submit(event, number)
            number += 1
        return {"parts": number}

    async def _parts(self, event: Doc, after: str) -> AsyncIterator[list[str]]:
        """Who waited when it was seen, after the account, by their ids."""
        accounts: list[str] = []
        query = {"watch": watch_of(event["type"], event["subject"])}
        rows = self._database[SUBSCRIPTIONS].find(query, {"account_id": 1, "since": 1})
        async for row in rows.sort("account_id"):
            if row["account_id"] <= after or row["since"] > event["time"] + LATE:
                continue
            accounts.append(row["account_id"])
            if len(accounts) == PART:
                yield accounts
                accounts = []
        if accounts:
            yield accounts

    async def _write(self, event_id: str, number: int, accounts: Sequence[str]) -> None:
        row = {"_id": _part_id(event_id, number), "accounts": accounts, "done": 0, "told": 0}
        try:
            await self._database[FAN_OUT_PARTS].insert_one({**row, "delete_at": self._clock() + KEPT})
        except DuplicateKeyError:
            raise TryAgain("another run splits the same event") from None

    async def _submit(self, event: Doc, number: int) -> None:
        command = FanOutPart(event_id=event["_id"], part=number)
        key = _part_id(event["_id"], number)
        await self._jobs.submit(command, owner=SYSTEM, key=key, subject=event["subject"])

    # -- telling --

    async def tell(self, event_id: str, number: int) -> Doc:
        """Records the event for every account of the part; answers how many have been told by all runs.

        Raises TryAgain where others keep recording events of the same accounts.
        """
        event, tried = await self._event(event_id), 0
        data = await self._data(event)
        while True:
            part = await self._part(event_id, number)
            if part["done"] == len(part["accounts"]):
                return {"told": part["told"]}
            moved = await self._tell_all(event, data, part)
            tried = 0 if moved else tried + 1
            if tried == TRIES:
                raise TryAgain("others keep recording events of the same accounts")
            await asyncio.sleep(random.uniform(0, 0.02 * tried))

    async def _tell_all(self, event: Doc, data: Doc, part: Doc) -> bool:
        """Step by step, until all are told or somebody else was first; whether any step was taken."""
        for start in range(part["done"], len(part["accounts"]), STEP):
            accounts = part["accounts"][start : start + STEP]
            rows = await self._still_waiting(event, accounts)
            told_as, subject = TOPICS[event["type"]], event["subject"]
            new = [NewEvent(row["account_id"], told_as, subject, data) for row in rows]
            moved = {"$set": {"done": start + len(accounts)}, "$inc": {"told": len(rows)}}
            changes = Changes()
            seen = {"_id": part["_id"], "done": start}
            changes.update(FAN_OUT_PARTS, seen, moved, expect=1, name="fan-out")
            try:
                await self._step(changes, rows, new)
            except GuardFailed:
                return bool(start > part["done"])
        return True

    async def _still_waiting(self, event: Doc, accounts: Sequence[str]) -> list[Doc]:
        """Those subscriptions of the accounts that have not ended since, nor begun again."""
        ids = [id_of(account, event["type"], event["subject"]) for account in accounts]
        fields = {"account_id": 1, "lasting": 1, "watch": 1, "since": 1}
        rows = await self._database[SUBSCRIPTIONS].find({"_id": {"$in": ids}}, fields).to_list()
        latest = event["time"] + LATE
        return [row for row in rows if row["watch"] is not None and row["since"] <= latest]

    async def _step(self, changes: Changes, rows: Sequence[Doc], new: Sequence[NewEvent]) -> None:
        """Tells some accounts, in one transaction with `changes`. Raises GuardFailed."""
        now = self._clock()
        for lasting in (False, True):
            ids = [row["_id"] for row in rows if row["lasting"] == lasting]
            told: Doc = {"told_at": now} | ({} if lasting else {"watch": None, "delete_at": now + KEPT})
            if ids:
                query = {"_id": {"$in": ids}, "watch": rows[0]["watch"]}
                changes.update(SUBSCRIPTIONS, query, {"$set": told}, expect=len(ids), name="subscriptions")
        accounts = [row["account_id"] for row in rows]
        async with self._locks.hold([cursor_lock(account) for account in accounts]):
            cursors = await self._events.cursors(accounts)
            recorded = self._events.record(changes, new, cursors=cursors, at=now)
            await changes.commit(self._database)
        self._events.publish(recorded)

    async def _data(self, event: Doc) -> Doc:
        """What those who wait are told: no levels of stock, which are not theirs to see."""
        sku = event["subject"]
        try:
            name = await self._name_of(event["type"], sku)
        except DomainError:
            name = sku
        return {"sku": sku, "name": name, "event_id": event["_id"]}

    # -- what is stored --

    async def _event(self, event_id: str) -> Doc:
        event = await self._database[EVENTS].find_one({"_id": event_id})
        if event is None:
            raise LookupError(f"there is no event {event_id}")
        return event

    async def _stored(self, event_id: str, number: int) -> Doc | None:
        return await self._database[FAN_OUT_PARTS].find_one({"_id": _part_id(event_id, number)})

    async def _part(self, event_id: str, number: int) -> Doc:
        part = await self._stored(event_id, number)
        if part is None:
            raise LookupError(f"there is no part {number} of {event_id}")
        return part


def _part_id(event_id: str, number: int) -> str:
    return f"{event_id}:{number}"
