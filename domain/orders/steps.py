"""One step in an order's life: a guarded update, its line of history and its events, in one transaction."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import OrderNotFound, TryAgain
from domain.events.models import NewEvent
from domain.events.rules import cursor_lock
from domain.events.service import Events
from domain.inventory.holds import OTHERS_FIRST, TRIES, pause_before
from domain.jobs.models import JOBS
from domain.orders.commands import PlaceOrder
from domain.orders.models import ORDERS
from domain.orders.rules import pending_state
from domain.ports import Locks
from domain.values import Clock


def order_event(account_id: str, order_id: str, state: str, *, reason: str | None = None) -> NewEvent:
    """What is told of an order that is in the state now."""
    data = {"order_id": order_id, "state": state} | ({"reason": reason} if reason else {})
    return NewEvent(account_id, f"order.{state}", order_id, data)


@dataclass(slots=True)
class Step:
    """What is written: the order's update, which adds to its timeline, and what else goes with it."""

    update: Doc
    events: Sequence[NewEvent] = ()
    changes: Changes = field(default_factory=Changes)


async def unplaced(database: Database, order_id: str) -> Doc:
    """What stands for an order that only its job tells of: `pending`, or cancelled as such, and not stored.

    Nothing can follow on it but what its job does. Raises OrderNotFound.
    """
    job = await database[JOBS].find_one({"_id": order_id, "kind": PlaceOrder.kind}, {"owner": 1, "state": 1})
    if job is None:
        raise OrderNotFound(order=order_id)
    return {"_id": order_id, "account_id": job["owner"], "state": pending_state(job), "timeline": []}


#: Looks at the order and says what to write; None where it was written before. Raises what refuses it.
Decide: TypeAlias = Callable[[Doc, datetime], Awaitable[Step | None]]


class Steps:
    """Takes steps. A step is guarded by the order's state and history as they were read.

    Every step adds to the history, so that of two at once one is first and the other decides again.
    """

    def __init__(self, *, database: Database, events: Events, locks: Locks, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._locks = locks
        self._clock = clock

    async def find(self, order_id: str) -> Doc:
        """The stored order; where it is not placed yet, see `unplaced`. Raises OrderNotFound."""
        order = await self._database[ORDERS].find_one({"_id": order_id})
        return order or await unplaced(self._database, order_id)

    async def take(self, order_id: str, decide: Decide) -> Doc:
        """The order after the step. Raises OrderNotFound, what `decide` raises, and TryAgain."""
        return (await self.told(order_id, decide))[0]

    async def told(self, order_id: str, decide: Decide) -> tuple[Doc, bool]:
        """As `take`, and whether the step was taken by this call. Of many at once one is told so.

        None is where a commit's answer was lost.
        """
        mine = False
        for tried in range(TRIES):
            await pause_before(tried)
            order = await self.find(order_id)
            step = await decide(order, self._clock())
            if step is None:
                return order, mine
            mine = await self._try(order, step)
        # The last try may have been the one that did it.
        order = await self.find(order_id)
        if await decide(order, self._clock()) is None:
            return order, mine
        raise TryAgain(OTHERS_FIRST)

    async def _try(self, order: Doc, step: Step) -> bool:
        seen = {"_id": order["_id"], "state": order["state"], "timeline": {"$size": len(order["timeline"])}}
        step.changes.update(ORDERS, seen, step.update, expect=1, name="order as it was read")
        owners = [event.account_id for event in step.events]
        async with self._locks.hold(sorted({cursor_lock(owner) for owner in owners})):
            cursors = await self._events.cursors(owners)
            recorded = self._events.record(step.changes, step.events, cursors=cursors, at=self._clock())
            try:
                await step.changes.commit(self._database)
            except GuardFailed:
                return False
        self._events.publish(recorded)
        return True
