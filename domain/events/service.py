"""Recording events inside a transaction, publishing them after it, and reading them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

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
        self._outgoing: Batcher[Recorded, None] = Batcher(self._publish)

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
        """Returns when everything that was given to `publish` has been told, or could not be."""
        await self._outgoing.drain()

    async def _publish(self, batch: list[Recorded]) -> list[None]:
        events = [event for recorded in batch for event in recorded.events]
        if await self._pubsub.publish([pair for event in events for pair in messages(event)]):
            ids = [recorded.outbox_id for recorded in batch]
            await self._database[OUTBOX].delete_many({"_id": {"$in": ids}})
        return [None] * len(batch)

    async def republish(self, *, limit: int = 100) -> int:
        """Publishes what was stored and never published; answers how many events."""
        before = id_floor(self._clock() - REPUBLISH_AFTER)
        count = 0
        async for row in self._database[OUTBOX].find({"_id": {"$lt": before}}).sort("_id").limit(limit):
            stored = await self._database[EVENTS].find({"_id": {"$in": row["events"]}}).sort("_id").to_list()
            if not await self._pubsub.publish([pair for event in stored for pair in messages(event)]):
                break
            await self._database[OUTBOX].delete_one({"_id": row["_id"]})
            count += len(stored)
        REPUBLISHED.inc(count)
        return count

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
