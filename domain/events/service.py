"""Recording events inside a transaction, and reading them back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo.errors import BulkWriteError

from domain.changes import DUPLICATE_KEY, Changes, Database, Doc
from domain.events import registry
from domain.events.errors import SeqAhead
from domain.events.making import maker
from domain.events.models import CURSORS, EVENTS, OUTBOX, TIMES, NewEvent, Recorded
from domain.events.rules import SHOP
from domain.events.telling import LASTING, PAGE, Router, Telling
from domain.events.times import Times
from domain.ports import PubSub
from domain.values import Clock, new_id


class Events:
    """The log of what happened."""

    def __init__(self, *, database: Database, pubsub: PubSub, clock: Clock) -> None:
        self._database = database
        self._telling = Telling(database=database, pubsub=pubsub, clock=clock)
        #: Those of all accounts, by time.
        self.times = Times(database, clock)

    def route_to(self, router: Router) -> None:
        """Sets who turns stored events into jobs. Without one they are told on pub/sub alone."""
        self._telling.route_to(router)

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
        somebody else recorded an event of one of the accounts since `cursors` were read. Raises WrongEvent
        for one that is not as its type is declared.
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
            ids = [doc["_id"] for doc in stored]
            times = {"at": at, "events": ids, "types": [doc["type"] for doc in stored]}
            changes.ride(OUTBOX, {"_id": recorded.outbox_id, "events": ids})
            changes.ride(TIMES, {"_id": recorded.outbox_id, **times})
            changes.insert(EVENTS, stored, guard=True)
        return recorded

    def publish(self, recorded: Recorded) -> None:
        """Tells listeners of stored events, in order, soon. What fails is left to `republish`."""
        self._telling.publish(recorded)

    async def drain(self) -> None:
        """Returns when everything that was given to `publish` was told and routed, or could not be."""
        await self._telling.drain()

    async def republish(self, *, limit: int = PAGE, seconds: float = LASTING) -> int:
        """Routes and tells what was stored and then left, see `Telling`; answers how many events it told."""
        return await self._telling.republish(limit=limit, seconds=seconds)

    async def after(self, account_id: str, seq: int, *, limit: int) -> list[Doc]:
        """The account's events with a greater `seq`, oldest first."""
        query = {"account_id": account_id, "seq": {"$gt": seq}}
        return await self._database[EVENTS].find(query).sort("seq").limit(limit).to_list()

    async def last(self, account_id: str, *, known: int = 0) -> int:
        """The account's last `seq`; 0 before its first event. Raises SeqAhead where `known` is past it."""
        row = await self._database[CURSORS].find_one({"_id": account_id})
        last = int(row["seq"]) if row else 0
        if known > last:
            raise SeqAhead(last_seq=last)
        return last


def _document(event: NewEvent, *, seq: int, at: datetime) -> dict[str, Any]:
    whose = "shop" if event.account_id == SHOP else "account"
    version = registry.require(event.type, event.data, whose=whose).version
    return {
        "_id": new_id(),
        "account_id": event.account_id,
        "seq": seq,
        "type": event.type,
        **({"version": version} if version > 1 else {}),
        "subject": event.subject,
        "time": at,
        "data": event.data,
        "job_id": event.job_id or maker(),
    }
