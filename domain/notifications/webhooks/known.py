"""Which endpoints there are, as far as one process knows: asked about every event, so it has to be cheap."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from domain.changes import Database, Doc
from domain.events.rules import SHOP
from domain.notifications.routing import Delivery
from domain.notifications.webhooks.commands import SendWebhook
from domain.notifications.webhooks.models import ENDPOINTS, MARK, MARKS
from domain.notifications.webhooks.rules import Recipient, first_key, recipients
from domain.ports import PubSub

#: Where processes tell each other that the endpoints have changed.
CHANNEL = "stockyard:webhooks"
#: Seconds for which endpoints are gone by at least, however long it took to read them.
SHORTEST = 0.001
_FACTS = {"account_id": 1, "events": 1}


class KnownEndpoints:
    """The enabled endpoints. None is used that was read longer than `refresh` ago.

    So an endpoint has every event that is recorded `refresh` after it was made, or later; and mostly every
    one from the moment on, as processes are told of it.
    """

    def __init__(self, *, database: Database, pubsub: PubSub, refresh: float) -> None:
        self._database = database
        self._pubsub = pubsub
        self._refresh = refresh
        self._found: Mapping[str, tuple[Recipient, ...]] = {}
        self._revision: str | None = None
        #: By the monotonic clock. What was begun to be read before this may be old.
        self._good_until = 0.0
        self._reading = asyncio.Lock()
        self._epoch = 0

    async def by_owner(self) -> Mapping[str, tuple[Recipient, ...]]:
        """Those of each owner. Raises PyMongoError where they have to be read and cannot be."""
        if monotonic() < self._good_until:
            return self._found
        async with self._reading:
            while monotonic() >= self._good_until:
                await self._read()
            return self._found

    async def forget(self) -> None:
        """Call it after every change. This process reads again, and so do all others that Redis reaches."""
        self._drop()
        await self._pubsub.publish([(CHANNEL, "changed")])

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While it is open, other processes' changes are heard of at once."""
        async with self._pubsub.subscribe(CHANNEL) as told:
            task = asyncio.create_task(self._listen(told))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _listen(self, told: AsyncIterator[str]) -> None:
        async for _ in told:
            self._drop()

    def _drop(self) -> None:
        self._epoch += 1
        self._good_until = 0.0

    async def _read(self) -> None:
        began, epoch = monotonic(), self._epoch
        mark = await self._database[MARKS].find_one({"_id": MARK})
        revision = mark["revision"] if mark else ""
        if revision != self._revision:
            rows = await self._database[ENDPOINTS].find({"enabled": True}, _FACTS).to_list() if mark else []
            # What changes after the mark was read changes the mark, too.
            self._found, self._revision = recipients(rows), revision
        # What was changed meanwhile is read at once.
        if epoch == self._epoch:
            self._good_until = max(began + self._refresh, monotonic() + SHORTEST)


class WebhookWay:
    """`routing.Way`: an event goes to the endpoints of its account, and to those of the shop."""

    def __init__(self, known: KnownEndpoints) -> None:
        self._known = known

    async def deliveries(self, events: Sequence[Doc]) -> Sequence[Delivery]:
        """A job for each event and each endpoint that wants it."""
        known = await self._known.by_owner()
        if not known:
            return ()
        return [
            Delivery(
                SendWebhook(endpoint_id=endpoint.id, event_id=event["_id"]),
                key=first_key(endpoint.id, event["_id"]),
                subject=event["subject"],
            )
            for event in events
            for owner in {event["account_id"], SHOP}
            for endpoint in known.get(owner, ())
            if endpoint.wants(event["type"]) and not _died_of_it(event)
        ]


def _died_of_it(event: Doc) -> bool:
    """Whether it tells of a delivery that is dead: sent the same way it would die, and be told of, again."""
    return bool(event["type"] == "job.dead" and event["data"]["kind"] == SendWebhook.kind)
