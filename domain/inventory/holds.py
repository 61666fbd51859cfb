"""How holds end: once, with their stock, their order and their events, in one transaction.

Every path that ends a hold (payment, cancel, release, expiry by the scheduler, lazy reclaim) comes through
`Holds.end`. What else an end changes is told by hooks, which the features above register.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.models import NewEvent
from domain.events.rules import cursor_lock
from domain.events.service import Events, Recorded
from domain.inventory import stock
from domain.inventory.models import HOLDS
from domain.inventory.rules import COMMITTED, EXPIRED, GIVEN_BACK, HELD, PAID, RELEASED, held_units, lock_key
from domain.metrics import EXPIRIES
from domain.observe import logger
from domain.ports import Locks
from domain.values import Clock

log = logger(__name__)

#: How often an end is tried again when somebody else was first.
TRIES = 8
#: The most holds that one lazy reclaim ends.
RECLAIM_LIMIT = 200
OTHERS_FIRST = "others kept changing the same holds"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why holds end, when, and what the caller knows about single ones (by hold id)."""

    cause: str
    at: datetime
    facts: Mapping[str, Any]


async def pause_before(tried: int) -> None:
    """Nothing before the first try; then up to 10 ms, 20 ms, 40 ms, so that rivals come apart."""
    if tried:
        await asyncio.sleep(random.uniform(0, 0.005 * 2 ** min(tried, 5)))


#: Adds what else ends with the holds to the transaction; answers the events to record with it.
EndHook: TypeAlias = Callable[[Changes, Sequence[Doc], Ending], list[NewEvent]]


class Holds:
    """Stock that is kept until it is sold or given back."""

    def __init__(self, *, database: Database, locks: Locks, events: Events, clock: Clock) -> None:
        self._database = database
        self._locks = locks
        self._events = events
        self._clock = clock
        self._hooks: list[EndHook] = [_reservation_events]

    def on_end(self, hook: EndHook) -> None:
        """Registers what else ends with a hold."""
        self._hooks.append(hook)

    async def get(self, hold_id: str) -> Doc | None:
        """The stored hold."""
        return await self._database[HOLDS].find_one({"_id": hold_id})

    async def extend(self, hold_id: str, *, by: timedelta) -> bool:
        """Keeps a hold for at least `by` from now. False where it has ended, or its own time is over.

        Its own time is what it was made for, so that it cannot be prolonged for ever.
        """
        now = self._clock()
        query = {"_id": hold_id, "state": HELD, "due_at": {"$gt": now}}
        changed = await self._database[HOLDS].update_one(query, {"$max": {"expires_at": now + by}})
        return changed.matched_count == 1

    async def end(
        self, hold_ids: Iterable[str], *, cause: str, facts: Mapping[str, Any] | None = None
    ) -> list[Doc]:
        """Ends those of the holds that are still held; answers which.

        For `expired`, only those whose time is over; for `given_back`, only those that no order has taken.
        Raises TryAgain where others kept being first.
        """
        wanted, known = sorted(set(hold_ids)), facts or {}
        ended = await self._end_together(wanted, cause, known)
        if ended is None and len(wanted) > 1:
            log.warning("holds could not be ended together and are tried one by one", holds=wanted)
            each = [await self._end_together([hold_id], cause, known) for hold_id in wanted]
            ended = None if None in each else [hold for holds in each for hold in holds or ()]
        if ended is None:
            raise TryAgain(OTHERS_FIRST)
        return ended

    async def _end_together(
        self, wanted: list[str], cause: str, facts: Mapping[str, Any]
    ) -> list[Doc] | None:
        """None where others kept being first."""
        for tried in range(TRIES):
            await pause_before(tried)
            holds = await self._still_held(wanted, cause)
            if not holds:
                return []
            keys = {lock_key(line["sku"]) for hold in holds for line in hold["lines"]}
            keys |= {cursor_lock(hold["account_id"]) for hold in holds}
            async with self._locks.hold(sorted(keys)):
                recorded = await self._try(holds, cause, facts)
            if recorded is not None:
                self._events.publish(recorded)
                return holds
        return None

    async def reclaim(self, skus: Iterable[str]) -> bool:
        """Ends expired holds on the SKUs, many at once, without waiting for the scheduler.

        True where there were any, whoever ended them: their stock has to be looked at again. Takes no locks:
        its caller holds those of the SKUs that it wants. Raises TryAgain where others kept being first.
        """
        wanted, limit, odd = sorted(set(skus)), RECLAIM_LIMIT, list[str]()
        for tried in range(TRIES):
            holds = await self._expired_on(wanted, limit, odd)
            if not holds:
                return tried > 0
            recorded = await self._try(holds, EXPIRED, {})
            if recorded is not None:
                EXPIRIES.labels("reclaim").inc(len(holds))
                self._events.publish(recorded)
                return True
            # One that cannot end must not keep the others: look at fewer, and pass over a single one.
            odd += [hold["_id"] for hold in holds if len(holds) == 1]
            limit = max(limit // 8, 1)
        raise TryAgain(OTHERS_FIRST)

    async def _expired_on(self, skus: list[str], limit: int, without: list[str]) -> list[Doc]:
        query: Doc = {"state": HELD, "expires_at": {"$lte": self._clock()}, "lines.sku": {"$in": skus}}
        if without:
            query["_id"] = {"$nin": without}
        return await self._database[HOLDS].find(query).sort("expires_at").limit(limit).to_list()

    async def expired(self, *, limit: int) -> list[str]:
        """Ids of holds whose time is over, longest first."""
        query = {"state": HELD, "expires_at": {"$lte": self._clock()}}
        rows = self._database[HOLDS].find(query, {"_id": 1}).sort("expires_at").limit(limit)
        return [row["_id"] async for row in rows]

    async def _still_held(self, hold_ids: list[str], cause: str) -> list[Doc]:
        query: Doc = {"_id": {"$in": hold_ids}, "state": HELD}
        if cause == EXPIRED:
            query["expires_at"] = {"$lte": self._clock()}
        if cause == GIVEN_BACK:
            query["order_id"] = None
        return await self._database[HOLDS].find(query).sort("_id").to_list()

    async def _try(self, holds: Sequence[Doc], cause: str, facts: Mapping[str, Any]) -> Recorded | None:
        """One transaction; None where somebody else was first."""
        changes, ending = Changes(), Ending(cause=cause, at=self._clock(), facts=facts)
        _end_holds(changes, holds, ending)
        if cause == PAID:
            stock.sell(changes, holds, at=ending.at)
        else:
            stock.give_back(changes, held_units(holds))
        events = [event for hook in self._hooks for event in hook(changes, holds, ending)]
        cursors = await self._events.cursors([event.account_id for event in events])
        recorded = self._events.record(changes, events, cursors=cursors, at=ending.at)
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return None
        return recorded


def _end_holds(changes: Changes, holds: Sequence[Doc], ending: Ending) -> None:
    state = COMMITTED if ending.cause == PAID else RELEASED
    update = {"$set": {"state": state, "cause": ending.cause, "ended_at": ending.at}}
    taken = [hold["_id"] for hold in holds if hold["order_id"] is not None]
    free = [hold["_id"] for hold in holds if hold["order_id"] is None]
    # An order that takes a reservation meanwhile would not end with it.
    for ids, bound in ((taken, {}), (free, {"order_id": None})):
        query: Doc = {"_id": {"$in": ids}, "state": HELD, **bound}
        if ending.cause == EXPIRED:
            query["expires_at"] = {"$lte": ending.at}
        if ids:
            changes.update(HOLDS, query, update, expect=len(ids), name=f"holds {ending.cause}")


def _reservation_events(_: Changes, holds: Sequence[Doc], ending: Ending) -> list[NewEvent]:
    kind = "hold.expired" if ending.cause == EXPIRED else "hold.released"
    return [
        NewEvent(
            hold["account_id"], kind, hold["_id"], {"reservation_id": hold["_id"], "cause": ending.cause}
        )
        for hold in holds
        if hold["order_id"] is None
    ]
