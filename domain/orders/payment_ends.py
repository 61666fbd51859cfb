"""How payments end, written many at a time; what no money came of is told in the same transaction.

That money came is not told apart from `order.paid`: to number one more event of an account while others of it
are placed and paid would make them all wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.models import NewEvent
from domain.events.rules import cursor_lock
from domain.events.service import Events
from domain.inventory.holds import OTHERS_FIRST, TRIES, pause_before
from domain.metrics import BATCH_SIZE
from domain.orders.models import PAYMENTS
from domain.orders.rules import BEFORE_CAPTURE, STARTED
from domain.ports import Locks
from domain.values import Clock

CAPTURED, DECLINED, VOIDED = "captured", "declined", "voided"


@dataclass(frozen=True, slots=True)
class End:
    """How a payment ended, with what is told of it."""

    state: str
    payment_id: str
    account_id: str
    facts: Mapping[str, Any]
    reason: str | None = None

    @classmethod
    def of(cls, payment: Mapping[str, Any], account_id: str, state: str, reason: str | None = None) -> "End":
        """Of a stored payment."""
        facts = {name: payment[name] for name in ("order_id", "amount", "currency")}
        return cls(state, payment["_id"], account_id, facts, reason)

    def event(self) -> NewEvent:
        """What is told of one that no money came of."""
        data = {"payment_id": self.payment_id, **self.facts, "reason": self.reason}
        return NewEvent(self.account_id, f"payment.{self.state}", self.payment_id, data)


class PaymentEnds:
    """Writes ends. A payment that has ended otherwise stays so; but money that came is the last word."""

    def __init__(self, *, database: Database, events: Events, locks: Locks, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._locks = locks
        self._clock = clock
        observe = BATCH_SIZE.labels("pay end").observe
        self._captured: Batcher[str, None] = Batcher(self._capture, observe=observe)
        self._others: Batcher[End, None] = Batcher(self._end)

    async def captured(self, payment_id: str) -> None:
        """The money came. Idempotent."""
        await self._captured.submit(payment_id)

    async def without_money(self, end: End) -> None:
        """The payment was declined or voided, and its account is told once.

        Raises TryAgain where others kept recording events of the account.
        """
        await self._others.submit(end)

    async def drain(self) -> None:
        """Returns when the ends in hand are written."""
        await self._captured.drain()
        await self._others.drain()

    async def _capture(self, payment_ids: list[str]) -> list[None]:
        query = {"_id": {"$in": payment_ids}, "state": {"$in": list(BEFORE_CAPTURE)}}
        fields = {"state": CAPTURED, "reason": None, "ended_at": self._clock()}
        await Changes.of(PAYMENTS, query, {"$set": fields}).commit(self._database)
        return [None] * len(payment_ids)

    async def _end(self, ends: list[End]) -> list[None]:
        wanted = {end.payment_id: end for end in reversed(ends)}
        for tried in range(TRIES):
            await pause_before(tried)
            async with self._locks.hold(sorted({cursor_lock(end.account_id) for end in ends})):
                if await self._try(wanted):
                    return [None] * len(ends)
        raise TryAgain(OTHERS_FIRST)

    async def _try(self, wanted: Mapping[str, End]) -> bool:
        query = {"_id": {"$in": sorted(wanted)}, "state": STARTED}
        left = [wanted[row["_id"]] async for row in self._database[PAYMENTS].find(query, {"_id": 1})]
        if not left:
            return True
        changes, now = Changes(), self._clock()
        for end in left:
            fields: Doc = {"state": end.state, "reason": end.reason, "ended_at": now}
            one = {"_id": end.payment_id, "state": STARTED}
            changes.update(PAYMENTS, one, {"$set": fields}, expect=1, name="payment to end")
        cursors = await self._events.cursors([end.account_id for end in left])
        recorded = self._events.record(changes, [end.event() for end in left], cursors=cursors, at=now)
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return False
        self._events.publish(recorded)
        return True
