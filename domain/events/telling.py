"""After the transaction: stored events are told on pub/sub, then routed to the ways that deliver them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any, TypeAlias

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc, store_is_away
from domain.events.models import EVENTS, OUTBOX, Recorded
from domain.events.rules import messages
from domain.metrics import REPUBLISHED
from domain.observe import logger
from domain.ports import PubSub
from domain.values import Clock, id_floor

log = logger(__name__)

#: Stored events older than this and still in the outbox were not told, or not routed.
REPUBLISH_AFTER = timedelta(seconds=3)
#: Rows that are told together, and seconds for which one call goes on.
PAGE, LASTING = 50, 5.0

#: Turns stored events into the jobs that deliver them. It may be handed an event twice. While it raises, the
#: events stay in the outbox.
Router: TypeAlias = Callable[[Sequence[Doc]], Awaitable[None]]


class Telling:
    """Tells and routes what transactions have stored, each event at least once.

    An outbox row goes when its events were both told and routed. What fails, or is cut short by a killed
    process, leaves the row for `republish`.
    """

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

    async def republish(self, *, limit: int = PAGE, seconds: float = LASTING) -> int:
        """Routes and tells what was stored and then left; answers how many events it told.

        Goes on for `seconds`, `limit` rows at a time, so that what a long outage has left is told soon. What
        is left to route is routed although Redis is away. A row whose routing fails is passed over and stays.
        Raises PyMongoError where the store is away.
        """
        left: Doc = {"_id": {"$lt": id_floor(self._clock() - REPUBLISH_AFTER)}}
        until = monotonic() + seconds
        if self._router:
            async for rows in self._left(left | {"routed": {"$ne": True}}, limit, until):
                await self._route_left(rows)
            # A row that came in between is routed first, the next time.
            left["routed"] = True
        count = 0
        async for rows in self._left(left, limit, until):
            stored = await self._events_of(rows)
            if not await self._tell(stored):
                break
            await self._database[OUTBOX].delete_many({"_id": {"$in": [row["_id"] for row in rows]}})
            REPUBLISHED.inc(len(stored))
            count += len(stored)
        return count

    async def _route_left(self, rows: Sequence[Doc]) -> None:
        """All together; where that fails one by one, so that none keeps another from it."""
        routed = [row["_id"] for row in rows]
        if not await self._could_route(rows, log.info):
            routed = [row["_id"] for row in rows if await self._could_route([row], log.exception)]
        if routed:
            query = {"_id": {"$in": routed}}
            await Changes.of(OUTBOX, query, {"$set": {"routed": True}}).commit(self._database)

    async def _could_route(self, rows: Sequence[Doc], tell: Callable[..., Any]) -> bool:
        try:
            await self._route(await self._events_of(rows))
        except Exception as error:
            if store_is_away(error):
                raise
            tell("events could not be routed and stay in the outbox", rows=[row["_id"] for row in rows])
            return False
        return True

    async def _left(self, query: Doc, limit: int, until: float) -> AsyncIterator[list[Doc]]:
        """The rows, oldest first, in parts, until the time is over; one part at least.

        By one reading: the store looks at all that is left for each, however few are asked for.
        """
        part: list[Doc] = []
        async for row in self._database[OUTBOX].find(query).sort("_id").batch_size(limit):
            part.append(row)
            if len(part) == limit:
                yield part
                part = []
                if monotonic() > until:
                    return
        if part:
            yield part

    async def _events_of(self, rows: Sequence[Doc]) -> list[Doc]:
        """In the order in which they were recorded."""
        ids = [event_id for row in rows for event_id in row["events"]]
        found: dict[str, Doc] = {}
        for start in range(0, len(ids), PAGE):
            part = self._database[EVENTS].find({"_id": {"$in": ids[start : start + PAGE]}})
            found |= {event["_id"]: event async for event in part}
        return [found[event_id] for event_id in ids if event_id in found]
