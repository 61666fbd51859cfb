"""Paying an order: hold, authorise, commit, capture. Every step may be run again and happens once.

Payments that are at the same step at the same time take it together: one read, one write for all.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pymongo.errors import BulkWriteError

from domain.batching import Batcher
from domain.changes import DUPLICATE_KEY, Database, Doc
from domain.errors import OrderNotFound, OrderNotPayable, PaymentDeclined, TryAgain
from domain.inventory.holds import Holds
from domain.inventory.models import HOLDS
from domain.inventory.rules import EXPIRED as HOLD_EXPIRED
from domain.inventory.rules import HELD
from domain.inventory.rules import PAID as HOLD_PAID
from domain.metrics import BATCH_SIZE, EXPIRIES
from domain.orders import states
from domain.orders.models import ORDERS, PAYMENTS
from domain.orders.payment_ends import CAPTURED, DECLINED, VOIDED, End, PaymentEnds
from domain.orders.rules import PAID, RESERVED, due, hold_for_payment, started
from domain.orders.steps import unplaced
from domain.ports import Charge, PaymentProvider, ProviderTimeout
from domain.values import Clock, Money

#: Pause before a charge whose fate is unknown is asked for again.
RECONCILE_AFTER = 1.0


class CaptureRefused(Exception):
    """The provider does not hand over what it had authorised: the order can be cancelled, see `Unpaid`."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A payment that begins, or goes on."""

    order_id: str
    payment_id: str
    source: str
    owner: str


class OrderPayments:
    """Charges orders through the payment provider."""

    def __init__(
        self,
        *,
        database: Database,
        holds: Holds,
        provider: PaymentProvider,
        ends: PaymentEnds,
        clock: Clock,
        timeout: timedelta,
        gate: asyncio.Lock | None = None,
    ) -> None:
        self._database = database
        self._holds = holds
        self._provider = provider
        self._ends = ends
        self._clock = clock
        self._timeout = timeout
        self._begins: Batcher[Attempt, tuple[Doc | None, bool]] = Batcher(
            self._begin, observe=BATCH_SIZE.labels("pay begin").observe
        )
        self._commits: Batcher[tuple[Doc, str], Doc] = Batcher(
            self._commit, observe=BATCH_SIZE.labels("pay").observe, gate=gate
        )

    async def pay(self, order_id: str, *, payment_id: str, source: str, owner: str) -> Doc:
        """Charges a reserved order once. `payment_id` is the attempt: run again, it takes up where it was.

        Raises OrderNotFound, OrderNotPayable (and no money is kept), PaymentDeclined, and TryAgain while the
        provider does not say what it did.
        """
        order, begun = await self._begins.submit(Attempt(order_id, payment_id, source, owner))
        if order is None:
            order = await unplaced(self._database, order_id)
        if order["account_id"] != owner:
            raise OrderNotFound(order=order_id)
        if begun:
            await self._authorise(order, payment_id, source)
            order = await self._commits.submit((order, payment_id))
        # What became of the order is final by now, whoever brought it about.
        if order.get("payment_id") != payment_id:
            await self._let_go(payment_id, owner)
            raise OrderNotPayable(**states.refusal(order, PAID))
        return await self._capture(order_id, payment_id, owner)

    async def drain(self) -> None:
        """Returns when the steps in hand are done."""
        await self._begins.drain()
        await self._commits.drain()
        await self._ends.drain()

    # -- steps, each for many payments --

    async def _orders(self, order_ids: Iterable[str]) -> dict[str, Doc]:
        wanted = sorted(set(order_ids))
        rows = self._database[ORDERS].find({"_id": {"$in": wanted}}) if wanted else None
        return {row["_id"]: row async for row in rows} if rows is not None else {}

    async def _begin(self, attempts: list[Attempt]) -> list[tuple[Doc | None, bool]]:
        """The order of each, and whether it can be charged now."""
        orders = await self._orders(each.order_id for each in attempts)
        wanted = [each for each in attempts if _is_payable(orders.get(each.order_id), each.owner)]
        holds = {each.payment_id: str(orders[each.order_id]["hold_id"]) for each in wanted}
        begun = await self._lasting(holds) if holds else set[str]()
        await self._start([each for each in wanted if each.payment_id in begun], orders)
        orders |= await self._orders(each.order_id for each in wanted if each.payment_id not in begun)
        return [(orders.get(each.order_id), each.payment_id in begun) for each in attempts]

    async def _lasting(self, holds: Mapping[str, str]) -> set[str]:
        """Payments whose hold lasts for a charge. One that has expired is ended: nobody can pay it any more.

        An attempt that begins before the hold's own time is over may put its end off; one that has begun
        goes on while the hold does.
        """
        extended = await self._holds.extend(holds.values(), by=hold_for_payment(self._timeout))
        late = {payment: hold for payment, hold in holds.items() if hold not in extended}
        going_on = await self._going_on(late) if late else set[str]()
        over = {hold for payment, hold in late.items() if payment not in going_on}
        if over:
            EXPIRIES.labels("payment").inc(len(await self._holds.end(over, cause=HOLD_EXPIRED)))
        return (holds.keys() - late.keys()) | going_on

    async def _going_on(self, late: Mapping[str, str]) -> set[str]:
        query = {
            "_id": {"$in": sorted(set(late.values()))},
            "state": HELD,
            "expires_at": {"$gt": self._clock()},
        }
        held = {row["_id"] async for row in self._database[HOLDS].find(query, {"_id": 1})}
        begun = self._database[PAYMENTS].find({"_id": {"$in": sorted(late)}}, {"_id": 1})
        return {row["_id"] async for row in begun if late[row["_id"]] in held}

    async def _start(self, attempts: Sequence[Attempt], orders: Mapping[str, Doc]) -> None:
        """Writes the payments; those that are there already stay as they are."""
        if not attempts:
            return
        now = self._clock()
        rows = [
            started(each.payment_id, orders[each.order_id], source=each.source, at=now) for each in attempts
        ]
        try:
            await self._database[PAYMENTS].insert_many(rows, ordered=False)
        except BulkWriteError as error:
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise

    async def _commit(self, wanted: list[tuple[Doc, str]]) -> list[Doc]:
        """Sells what is still held; the orders as they are then."""
        first: dict[str, str] = {}
        for order, payment_id in wanted:
            first.setdefault(order["hold_id"], payment_id)
        await self._holds.end(first, cause=HOLD_PAID, facts=first)
        orders = await self._orders(order["_id"] for order, _ in wanted)
        return [orders[order["_id"]] for order, _ in wanted]

    # -- the provider --

    async def _authorise(self, order: Doc, payment_id: str, source: str) -> None:
        amount = Money(amount=due(order), currency=order["currency"])
        try:
            charge = await self._provider.authorise(key=payment_id, amount=amount, source=source)
        except ProviderTimeout:
            charge = await self._ask(payment_id)
        if charge.status == "declined":
            await self._ends.without_money(End(DECLINED, payment_id, order["account_id"], charge.reason))
            raise PaymentDeclined(payment=payment_id, reason=charge.reason)
        if charge.status == "voided":
            raise PaymentDeclined(payment=payment_id, reason="voided")

    async def _ask(self, payment_id: str) -> Charge:
        """What became of a charge that was not answered. Raises TryAgain where nobody knows."""
        try:
            charge = await self._provider.find(payment_id)
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=RECONCILE_AFTER) from error
        if charge is None:
            msg = "the provider has not seen the charge yet"
            raise TryAgain(msg, seconds=RECONCILE_AFTER)
        return charge

    async def _capture(self, order_id: str, payment_id: str, owner: str) -> Doc:
        try:
            charge = await self._provider.capture(key=payment_id)
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=RECONCILE_AFTER) from error
        if charge.status != CAPTURED:
            await self._end_without_money(payment_id, charge, owner)
            # Goods are sold and no money came: for people to see, as a dead job.
            raise CaptureRefused(f"{payment_id} is {charge.status}: {charge.reason}")
        await self._ends.captured(payment_id, owner)
        return {"order_id": order_id, "order_state": PAID, "payment_id": payment_id}

    async def _end_without_money(self, payment_id: str, charge: Charge, owner: str) -> None:
        """Says that no money came, where that is so for good. A capture that is told of later counts yet."""
        if charge.status in (DECLINED, VOIDED):
            reason = charge.reason or "the provider did not hand the money over"
            await self._ends.without_money(End(charge.status, payment_id, owner, reason))

    async def _let_go(self, payment_id: str, owner: str) -> None:
        """Voids what the attempt has authorised, or may yet: a request can still be on its way."""
        payment = await self._database[PAYMENTS].find_one({"_id": payment_id})
        if payment is None:
            return
        try:
            charge = await self._provider.void(key=payment_id)
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=RECONCILE_AFTER) from error
        # One that was declined stays so.
        reason = charge.reason or "the order could not be paid any more"
        if charge.status == CAPTURED:
            await self._ends.captured(payment_id, owner)
        else:
            await self._ends.without_money(End(charge.status, payment_id, owner, reason))


def _is_payable(order: Doc | None, owner: str) -> bool:
    return order is not None and order["account_id"] == owner and order["state"] == RESERVED
