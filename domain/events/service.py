"""Recording events inside a transaction, publishing them after it, and reading them back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import BulkWriteError

from domain.batching import Batcher
from domain.changes import DUPLICATE_KEY, Changes, Database, Doc
from domain.events.models import CURSORS, EVENTS, OUTBOX, NewEvent
from domain.events.rules import messages
from domain.metrics import REPUBLISHED
from domain.ports import PubSub
from domain.values import Clock, id_floor, new_id

#: Stored events older than this and still in the outbox were never published.
REPUBLISH_AFTER = timedelta(seconds=3)

#: Turns stored events into the jobs that deliver them. It may be handed an event twice. While it raises, the
#: events stay in the outbox.
Router: TypeAlias = Callable[[Sequence[Doc]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Events that a transaction stores, to be published once it has."""

    outbox_id: str
    events: tuple[Doc, ...]


class Events:
    """The log of what happened."""

    def __init__(self, *, database: Database, pubsub: PubSub, clock: Clock) -> None:
        self._database = database
        self._pubsub = pubsub
        self._clock = clock
        self._router: Router | None = None
        self._outgoing: Batcher[Recorded, None] = Batcher(self._publish)
        #: What was told, or could not be, and has to be routed.
        self._routing: Batcher[tuple[Recorded, bool], None] = Batcher(self._finish)

    def route_to(self, router: Router) -> None:
        """Sets who turns stored events into jobs. Without one they are told on pub/sub alone."""
        self._router = router

    async def cursors(self, account_ids: Sequence[str]) -> dict[str, int]:
        """The last `seq` of each account: read before a transaction that records events."""
        wanted = sorted(set(account_ids))
        found = {
            doc["_id"]: int(doc["seq"])
            async for doc in self._database[CURSORS].find({"_id": {"$in": wanted}})
        }
        missing = [account_id for account_id in wanted if account_id not in found]
        if missing:
            await self._create_cursors(missing)
            found |= await self.cursors(missing)
        return found

    async def _create_cursors(self, account_ids: Sequence[str]) -> None:
        documents = [{"_id": account_id, "seq": 0} for account_id in account_ids]
        try:
            await self._database[CURSORS].insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise

    @staticmethod
    def record(
        changes: Changes, events: Sequence[NewEvent], *, cursors: Mapping[str, int], at: datetime
    ) -> Recorded:
        """Adds the events to the transaction, numbered from `cursors`; answers what to `publish` after it.

        The transaction fails its guard, which is that no two events of an account have one number, when
        somebody else recorded an event of one of the accounts since `cursors` were read.
        """
        last = dict(cursors)
        stored = []
        for event in events:
            last[event.account_id] += 1
            stored.append(_document(event, seq=last[event.account_id], at=at))
        grown = {account_id: last[account_id] - cursors[account_id] for account_id in last}
        for count in sorted(set(grown.values()) - {0}):
            ids = sorted(account_id for account_id, new in grown.items() if new == count)
            query = {"_id": {"$in": ids}}
            changes.update(CURSORS, query, {"$inc": {"seq": count}}, expect=len(ids), name="event cursors")
        recorded = Recorded(outbox_id=new_id(), events=tuple(stored))
        if stored:
            changes.ride(OUTBOX, {"_id": recorded.outbox_id, "events": [doc["_id"] for doc in stored]})
            changes.insert(EVENTS, stored, guard=True)
        return recorded

    def publish(self, recorded: Recorded) -> None:
        """Tells listeners of stored events, in order, soon. What fails is left to `republish`."""
        if recorded.events:
            self._outgoing.post(recorded)

    async def drain(self) -> None:
        """Returns when everything that was given to `publish` was told and routed, or could not be."""
        await self._outgoing.drain()
        await self._routing.drain()

    async def _publish(self, batch: list[Recorded]) -> list[None]:
        told = await self._tell([event for recorded in batch for event in recorded.events])
        for recorded in batch:
            self._routing.post((recorded, told))
        return [None] * len(batch)

    async def _finish(self, batch: list[tuple[Recorded, bool]]) -> list[None]:
        await self._route([event for recorded, _ in batch for event in recorded.events])
        told = [recorded.outbox_id for recorded, told in batch if told]
        if told:
            await self._database[OUTBOX].delete_many({"_id": {"$in": told}})
        if self._router and len(told) < len(batch):
            rows = {"_id": {"$in": [recorded.outbox_id for recorded, told in batch if not told]}}
            await Changes.of(OUTBOX, rows, {"$set": {"routed": True}}).commit(self._database)
        return [None] * len(batch)

    async def _tell(self, events: Sequence[Doc]) -> bool:
        return await self._pubsub.publish([pair for event in events for pair in messages(event)])

    async def _route(self, events: Sequence[Doc]) -> None:
        if self._router and events:
            await self._router(events)

    async def republish(self, *, limit: int = 100) -> int:
        """Routes and publishes what was stored and then left; answers how many events it published.

        What is left to route is routed although Redis is away.
        """
        before = {"_id": {"$lt": id_floor(self._clock() - REPUBLISH_AFTER)}}
        if self._router:
            async for row in self._left(before | {"routed": {"$ne": True}}, limit):
                await self._route(await self._events_of(row))
                await self._database[OUTBOX].update_one({"_id": row["_id"]}, {"$set": {"routed": True}})
        count = 0
        async for row in self._left(before, limit):
            stored = await self._events_of(row)
            if not await self._tell(stored):
                break
            await self._database[OUTBOX].delete_one({"_id": row["_id"]})
            count += len(stored)
        REPUBLISHED.inc(count)
        return count

    def _left(self, query: Doc, limit: int) -> AsyncCursor[Doc]:
        return self._database[OUTBOX].find(query).sort("_id").limit(limit)

    async def _events_of(self, row: Doc) -> list[Doc]:
        return await self._database[EVENTS].find({"_id": {"$in": row["events"]}}).sort("_id").to_list()

    async def after(self, account_id: str, seq: int, *, limit: int) -> list[Doc]:
        """The account's events with a greater `seq`, oldest first."""
        query = {"account_id": account_id, "seq": {"$gt": seq}}
        return await self._database[EVENTS].find(query).sort("seq").limit(limit).to_list()

    async def last(self, account_id: str) -> int:
        """The account's last `seq`; 0 before its first event."""
        row = await self._database[CURSORS].find_one({"_id": account_id})
        return int(row["seq"]) if row else 0


def _document(event: NewEvent, *, seq: int, at: datetime) -> dict[str, Any]:
    return {
        "_id": new_id(),
        "account_id": event.account_id,
        "seq": seq,
        "type": event.type,
        "subject": event.subject,
        "time": at,
        "data": event.data,
    }
