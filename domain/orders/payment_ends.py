"""How payments end, written many at a time and told in the same transaction."""

import asyncio
from collections import defaultdict
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
#: What is told of a payment, whatever became of it.
_FACTS = ("order_id", "amount", "currency")


@dataclass(frozen=True, slots=True)
class End:
    """How a payment ended, and why where no money came of it."""

    state: str
    payment_id: str
    account_id: str
    reason: str | None = None

    def event(self, payment: Mapping[str, Any]) -> NewEvent:
        """What is told of it; `payment` is the stored one."""
        data = {"payment_id": self.payment_id} | {name: payment[name] for name in _FACTS}
        if self.state != CAPTURED:
            data["reason"] = self.reason
        return NewEvent(self.account_id, f"payment.{self.state}", self.payment_id, data, self.payment_id)


class PaymentEnds:
    """Writes ends. A payment that has ended otherwise stays so; but money that came is the last word."""

    def __init__(
        self,
        *,
        database: Database,
        events: Events,
        locks: Locks,
        clock: Clock,
        gate: asyncio.Lock | None = None,
    ) -> None:
        """`gate` is that of others that number events of the same accounts: see `Batcher`."""
        self._database = database
        self._events = events
        self._locks = locks
        self._clock = clock
        observe = BATCH_SIZE.labels("pay end").observe
        self._captured: Batcher[End, None] = Batcher(self._end, observe=observe, gate=gate)
        self._others: Batcher[End, None] = Batcher(self._end)

    async def captured(self, payment_id: str, account_id: str) -> None:
        """The money came, and its account is told once. Raises TryAgain as `without_money` does."""
        await self._captured.submit(End(CAPTURED, payment_id, account_id))

    async def without_money(self, end: End) -> None:
        """The payment was declined or voided, and its account is told once.

        Raises TryAgain where others kept recording events of the account.
        """
        await self._others.submit(end)

    async def drain(self) -> None:
        """Returns when the ends in hand are written."""
        await self._captured.drain()
        await self._others.drain()

    async def _end(self, ends: list[End]) -> list[None]:
        wanted = {end.payment_id: end for end in reversed(ends)}
        for tried in range(TRIES):
            await pause_before(tried)
            async with self._locks.hold(sorted({cursor_lock(end.account_id) for end in ends})):
                if await self._try(wanted):
                    return [None] * len(ends)
        raise TryAgain(OTHERS_FIRST)

    async def _try(self, wanted: Mapping[str, End]) -> bool:
        """One transaction, of ends that are all with money or all without; False where others were first."""
        before = _before(next(iter(wanted.values())))
        rows = self._database[PAYMENTS].find({"_id": {"$in": sorted(wanted)}, "state": before})
        left, cursors = await asyncio.gather(
            rows.to_list(), self._events.cursors([end.account_id for end in wanted.values()])
        )
        if not left:
            return True
        changes, now = Changes(), self._clock()
        alike = defaultdict[tuple[str, str | None], list[str]](list)
        for row in left:
            end = wanted[row["_id"]]
            alike[end.state, end.reason].append(end.payment_id)
        for (state, reason), ids in alike.items():
            fields: Doc = {"state": state, "reason": reason, "ended_at": now}
            query = {"_id": {"$in": ids}, "state": before}
            changes.update(PAYMENTS, query, {"$set": fields}, expect=len(ids), name="payments to end")
        told = [wanted[row["_id"]].event(row) for row in left]
        recorded = self._events.record(changes, told, cursors=cursors, at=now)
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return False
        self._events.publish(recorded)
        return True


def _before(end: End) -> Doc:
    """The states of a payment that can end so."""
    return {"$in": list(BEFORE_CAPTURE) if end.state == CAPTURED else [STARTED]}
