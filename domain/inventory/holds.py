"""How holds end: once, with their stock, their order and their events, in one transaction.

Every path that ends a hold (payment, cancel, release, expiry by the scheduler, lazy reclaim) comes through
`Holds.end`. What else an end changes is told by hooks, which the features above register.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.making import maker
from domain.events.models import NewEvent, Recorded
from domain.events.rules import cursor_lock
from domain.events.service import Events
from domain.inventory import repository, stock
from domain.inventory.endings import NOBODY, Ending, Makers, end_holds, hold_events, made_by_each
from domain.inventory.models import HOLDS
from domain.inventory.news import numbered
from domain.inventory.rules import (
    CANCELLED,
    EXPIRED,
    GIVEN_BACK,
    HELD,
    PAID,
    held_units,
    lock_key,
)
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


async def pause_before(tried: int) -> None:
    """Nothing before the first try; then up to 10 ms, 20 ms, 40 ms, so that rivals come apart."""
    if tried:
        await asyncio.sleep(random.uniform(0, 0.005 * 2 ** min(tried, 5)))


#: Adds what else ends with the holds to the transaction; answers the events to record with it.
EndHook: TypeAlias = Callable[[Changes, Sequence[Doc], Ending], list[NewEvent]]
#: Adds what else is put off with the holds to the transaction.
ExtendHook: TypeAlias = Callable[[Changes, Sequence[Doc], datetime], None]


class Holds:
    """Stock that is kept until it is sold or given back."""

    def __init__(self, *, database: Database, locks: Locks, events: Events, clock: Clock) -> None:
        self._database = database
        self._locks = locks
        self._events = events
        self._clock = clock
        self._hooks: list[EndHook] = [hold_events]
        # Many that end one hold each, as cancels do, would keep being in each other's way.
        self._single: dict[str, Batcher[tuple[str, str | None], list[Doc]]] = {
            cause: Batcher(partial(self._end_singles, cause)) for cause in (CANCELLED, GIVEN_BACK)
        }
        self._extend_hooks: list[ExtendHook] = []

    def on_end(self, hook: EndHook) -> None:
        """Registers what else ends with a hold."""
        self._hooks.append(hook)

    def on_extend(self, hook: ExtendHook) -> None:
        """Registers what else lasts as long as a hold."""
        self._extend_hooks.append(hook)

    async def get(self, hold_id: str) -> Doc | None:
        """The stored hold."""
        return await self._database[HOLDS].find_one({"_id": hold_id})

    async def extend(self, hold_ids: Iterable[str], *, by: timedelta) -> set[str]:
        """Keeps the holds for at least `by` from now; answers which it could.

        Not one that has ended, nor one whose own time is over, which is what it was made for: it cannot be
        prolonged for ever. Writes nothing where all last long enough. Raises TryAgain where others kept being
        first.
        """
        wanted = sorted(set(hold_ids))
        for tried in range(TRIES):
            await pause_before(tried)
            now = self._clock()
            query = {"_id": {"$in": wanted}, "state": HELD, "due_at": {"$gt": now}}
            holds = await self._database[HOLDS].find(query).to_list()
            if await self._keep(holds, until=now + by):
                return {hold["_id"] for hold in holds}
        raise TryAgain(OTHERS_FIRST)

    async def _keep(self, holds: Sequence[Doc], *, until: datetime) -> bool:
        """One transaction; False where somebody else was first."""
        changes, short = Changes(), [hold for hold in holds if hold["expires_at"] < until]
        if short:
            query = {"_id": {"$in": [hold["_id"] for hold in short]}, "state": HELD}
            longer = {"$max": {"expires_at": until}}
            changes.update(HOLDS, query, longer, expect=len(short), name="holds to extend")
            for hook in self._extend_hooks:
                hook(changes, short, until)
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return False
        return True

    async def end(
        self, hold_ids: Iterable[str], *, cause: str, facts: Mapping[str, Any] | None = None
    ) -> list[Doc]:
        """Ends those of the holds that are still held; answers which.

        For `expired`, only those whose time is over; for `given_back`, only those that no order has taken.
        Raises TryAgain where others kept being first.
        """
        wanted = sorted(set(hold_ids))
        if len(wanted) == 1 and cause in self._single and not facts:
            return await self._single[cause].submit((wanted[0], maker()))
        return await self._end(wanted, cause, facts or {})

    async def drain(self) -> None:
        """Returns when the ends in hand are done."""
        await asyncio.gather(*(batches.drain() for batches in self._single.values()))

    async def _end_singles(self, cause: str, asked: list[tuple[str, str | None]]) -> list[list[Doc]]:
        """Each a hold, and the job that ends it."""
        makers = dict(reversed(asked))
        ended = {hold["_id"]: hold for hold in await self._end(sorted(makers), cause, {}, makers)}
        # One that was asked for twice has ended once.
        return [[ended.pop(hold_id)] if hold_id in ended else [] for hold_id, _ in asked]

    async def _end(
        self, wanted: list[str], cause: str, known: Mapping[str, Any], makers: Makers = NOBODY
    ) -> list[Doc]:
        ended = await self._end_together(wanted, cause, known, makers)
        if ended is None and len(wanted) > 1:
            log.warning("holds could not be ended together and are tried one by one", holds=wanted)
            each = [await self._end_together([hold_id], cause, known, makers) for hold_id in wanted]
            ended = None if None in each else [hold for holds in each for hold in holds or ()]
        if ended is None:
            raise TryAgain(OTHERS_FIRST)
        return ended

    async def _end_together(
        self, wanted: list[str], cause: str, facts: Mapping[str, Any], makers: Makers
    ) -> list[Doc] | None:
        """None where others kept being first."""
        for tried in range(TRIES):
            await pause_before(tried)
            holds = await repository.still_held(self._database, wanted, cause, at=self._clock())
            if not holds:
                return []
            keys = {lock_key(line["sku"]) for hold in holds for line in hold["lines"]}
            keys |= {cursor_lock(hold["account_id"]) for hold in holds}
            async with self._locks.hold(sorted(keys)):
                recorded = await self._try(holds, cause, facts, makers)
            if recorded is not None:
                self._events.publish(recorded)
                return holds
        return None

    async def reclaim(self, skus: Iterable[str]) -> bool:
        """Ends expired holds on the SKUs, or uses of discounts, without waiting for the scheduler.

        True where there were any, whoever ended them: their stock has to be looked at again. Takes no locks:
        its caller holds those of the SKUs that it wants. Raises TryAgain where others kept being first.
        """
        wanted, limit, odd = sorted(set(skus)), RECLAIM_LIMIT, list[str]()
        for tried in range(TRIES):
            holds = await repository.expired_on(
                self._database, wanted, at=self._clock(), limit=limit, without=odd
            )
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

    async def expired(self, *, limit: int) -> list[str]:
        """Ids of holds whose time is over, longest first."""
        return await repository.expired(self._database, at=self._clock(), limit=limit)

    async def _try(
        self, holds: Sequence[Doc], cause: str, facts: Mapping[str, Any], makers: Makers = NOBODY
    ) -> Recorded | None:
        """One transaction; None where somebody else was first."""
        changes, ending = Changes(), Ending(cause=cause, at=self._clock(), facts=facts)
        end_holds(changes, holds, ending)
        events = [event for hook in self._hooks for event in hook(changes, holds, ending)]
        if makers:
            events = made_by_each(events, holds, makers)
        # Units that are sold leave what is available as it is: nothing has to be read for them.
        back = {} if cause == PAID else held_units(holds)
        seen, cursors = await asyncio.gather(
            stock.levels(self._database, back), self._events.cursors([event.account_id for event in events])
        )
        if cause == PAID:
            stock.sell(changes, holds, at=ending.at)
        events += stock.give_back(changes, back, seen)
        async with numbered(events, cursors, events=self._events, locks=self._locks) as numbers:
            recorded = self._events.record(changes, events, cursors=numbers, at=ending.at)
            try:
                await changes.commit(self._database)
            except GuardFailed:
                return None
        return recorded
