"""Where the jobs about an order are: what `JobSearch` is told."""

from domain.changes import Database, Doc
from domain.events.rules import SHOP
from domain.events.service import Events
from domain.jobs.models import JOBS
from domain.jobs.rules import SYSTEM
from domain.jobs.searching import Related
from domain.jobs.told import told
from domain.notifications.commands import FanOut, SendMail
from domain.notifications.webhooks.commands import SendWebhook
from domain.notifications.webhooks.models import ENDPOINTS
from domain.notifications.webhooks.rules import first_key
from domain.orders.models import ORDERS, PAYMENTS
from domain.values import Clock

#: Keys that one query names.
PART = 50


class RelatedJobs:
    """Finds them by what the order names: payments, refunds, who acted, and what was told of it."""

    def __init__(self, *, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def find(self, subject: str) -> Related | None:
        """None where there is no such order."""
        order: Doc | None = await self._database[ORDERS].find_one({"_id": subject})
        if order is None:
            return None
        paid = self._database[PAYMENTS].find({"order_id": subject}, {"_id": 1})
        ids = {row["_id"] async for row in paid} | {each["id"] for each in order.get("refunds") or ()}
        acted = {each.get("actor") for each in [*order["timeline"], *(order.get("refunds") or ())]}
        owners = {order["account_id"], *(actor for actor in acted if actor)} - {SYSTEM}
        return Related(frozenset(ids | await self._deliveries(order)), frozenset(owners))

    async def events_of(self, order: Doc) -> list[Doc]:
        """What was told of the order, oldest first."""
        account, since = order["account_id"], order["timeline"][0]["at"]
        return await told(self._events, account, {order["_id"]}, since=since, until=self._clock())

    async def _deliveries(self, order: Doc) -> set[str]:
        """Jobs that took what was told of the order to somebody."""
        events = [event["_id"] for event in await self.events_of(order)]
        owners = {"account_id": {"$in": [order["account_id"], SHOP]}}
        hooked = self._database[ENDPOINTS].find(owners, {"_id": 1})
        keys = [(kind, event_id) for kind in (SendMail.kind, FanOut.kind) for event_id in events]
        keys += [
            (SendWebhook.kind, first_key(row["_id"], event_id)) async for row in hooked for event_id in events
        ]
        found: set[str] = set()
        for kind in {kind for kind, _ in keys}:
            mine = [key for each, key in keys if each == kind]
            for start in range(0, len(mine), PART):
                query = {"owner": SYSTEM, "kind": kind, "key": {"$in": mine[start : start + PART]}}
                found |= {row["_id"] async for row in self._database[JOBS].find(query, {"_id": 1})}
        return found
