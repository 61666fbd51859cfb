"""Fulfilment: what was sent, whole or by line; and the completion of orders that were sent."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.changes import Changes, Database, Doc
from domain.errors import IdempotencyKeyReused, InvalidTransition
from domain.events.models import NewEvent
from domain.jobs.rules import fingerprint
from domain.observe import logger
from domain.orders import states
from domain.orders.models import COMPLETIONS
from domain.orders.rules import COMPLETED, FULFILLED, SYSTEM, fulfilment_view, moment
from domain.orders.shares import fulfilment_of, is_sent
from domain.orders.steps import Step, Steps
from domain.values import Clock

log = logger(__name__)

#: Orders that one run of the timetable completes.
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent: units by SKU, or all that is left; and how."""

    units: Mapping[str, int] | None
    tracking_number: str | None
    carrier: str | None
    actor: str
    #: Chosen by the actor: one key is one parcel.
    key: str

    @property
    def id(self) -> str:
        """The fulfilment's id."""
        return hashlib.sha256(f"{self.actor}\0{self.key}".encode()).hexdigest()[:32]

    @property
    def fingerprint(self) -> str:
        """Tells another parcel under a used key."""
        units = dict(self.units) if self.units is not None else None
        return fingerprint({"units": units, "tracking": self.tracking_number, "carrier": self.carrier})


class Fulfilment:
    """Sends and completes orders."""

    def __init__(self, *, database: Database, steps: Steps, clock: Clock, complete_after: timedelta) -> None:
        self._database = database
        self._steps = steps
        self._clock = clock
        self._complete_after = complete_after

    async def fulfil(self, order_id: str, parcel: Parcel) -> tuple[Doc, bool]:
        """The fulfilment as it is shown, and whether it was there before. The last unit fulfils the order.

        Raises OrderNotFound, InvalidTransition, NothingLeft, TooManyUnits, and IdempotencyKeyReused.
        """

        async def send(order: Doc, at: datetime) -> Step | None:
            if any(each["id"] == parcel.id for each in order.get("fulfilments") or ()):
                return None
            states.require(order_id, order["state"], FULFILLED)
            return self._sent(order, parcel, at)

        order, mine = await self._steps.told(order_id, send)
        made = next(each for each in order["fulfilments"] if each["id"] == parcel.id)
        if made["fingerprint"] != parcel.fingerprint:
            raise IdempotencyKeyReused(key=parcel.key)
        shown = fulfilment_view(made) | {"order_id": order_id, "order_state": order["state"]}
        return shown, not mine

    def _sent(self, order: Doc, parcel: Parcel, at: datetime) -> Step:
        fulfilment = {
            "id": parcel.id,
            "fingerprint": parcel.fingerprint,
            "lines": fulfilment_of(order, parcel.units),
            "tracking_number": parcel.tracking_number,
            "carrier": parcel.carrier,
            "actor": parcel.actor,
            "at": at,
        }
        after = order | {"fulfilments": [*(order.get("fulfilments") or ()), fulfilment]}
        state = FULFILLED if is_sent(after) else order["state"]
        line = moment(
            state, at, actor=parcel.actor, reason="all is sent" if state == FULFILLED else "a part is sent"
        )
        update: Doc = {"$push": {"fulfilments": fulfilment, "timeline": line}}
        changes = Changes()
        if state == FULFILLED:
            update["$set"] = {"state": state}
            changes.insert(COMPLETIONS, [completion(order["_id"], at + self._complete_after)])
        data = {
            "order_id": order["_id"],
            "state": state,
            "fulfilment_id": parcel.id,
            "lines": fulfilment["lines"],
            "tracking_number": parcel.tracking_number,
            "carrier": parcel.carrier,
        }
        return Step(update, [NewEvent(order["account_id"], "order.fulfilled", order["_id"], data)], changes)

    async def complete(self, order_id: str, *, actor: str, reason: str | None = None) -> Doc:
        """Completes a fulfilled order. Completed before, it changes nothing.

        Raises OrderNotFound and InvalidTransition.
        """
        return (await self._complete(order_id, actor=actor, reason=reason))[0]

    async def _complete(self, order_id: str, *, actor: str, reason: str | None) -> tuple[Doc, bool]:
        """The order, and whether it was completed now."""

        async def end(order: Doc, at: datetime) -> Step | None:
            if order["state"] == COMPLETED:
                return None
            states.require(order_id, order["state"], COMPLETED)
            line = moment(COMPLETED, at, actor=actor, reason=reason)
            data = {"order_id": order_id, "state": COMPLETED}
            return Step(
                {"$set": {"state": COMPLETED}, "$push": {"timeline": line}},
                [NewEvent(order["account_id"], "order.completed", order_id, data)],
            )

        return await self._steps.told(order_id, end)

    async def complete_due(self) -> int:
        """Completes orders that were fulfilled long enough ago; answers how many."""
        due = self._database[COMPLETIONS].find({"at": {"$lte": self._clock()}}).sort("at").limit(AT_ONCE)
        done = 0
        for row in await due.to_list():
            try:
                done += (await self._complete(row["_id"], actor=SYSTEM, reason="its time was over"))[1]
            except InvalidTransition:
                log.info("an order was refunded before it was completed", order_id=row["_id"])
            await self._database[COMPLETIONS].delete_one({"_id": row["_id"]})
        return done


def completion(order_id: str, at: datetime) -> Doc:
    """The row of an order that completes at that time."""
    return {"_id": order_id, "at": at}
