"""Paying an order: hold, authorise, commit, capture. Every step may be run again and happens once."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from domain.batching import Batcher
from domain.changes import Database, Doc
from domain.errors import OrderNotFound, OrderNotPayable, PaymentDeclined, TryAgain
from domain.inventory.holds import Holds
from domain.inventory.rules import EXPIRED as HOLD_EXPIRED
from domain.inventory.rules import HELD
from domain.inventory.rules import PAID as HOLD_PAID
from domain.metrics import BATCH_SIZE
from domain.orders.models import ORDERS, PAYMENTS
from domain.orders.rules import PAID, RESERVED, hold_for_payment
from domain.ports import Charge, PaymentProvider, ProviderTimeout
from domain.values import Clock, Money

#: Pause before a charge whose fate is unknown is asked for again.
RECONCILE_AFTER = 1.0


class CaptureRefused(Exception):
    """The provider does not hand over what it had authorised."""


class OrderPayments:
    """Charges orders through the payment provider."""

    def __init__(
        self, *, database: Database, holds: Holds, provider: PaymentProvider, clock: Clock, timeout: timedelta
    ) -> None:
        self._database = database
        self._holds = holds
        self._provider = provider
        self._clock = clock
        self._timeout = timeout
        self._commits: Batcher[tuple[str, str], None] = Batcher(
            self._commit, observe=BATCH_SIZE.labels("pay").observe
        )

    async def pay(self, order_id: str, *, payment_id: str, source: str, owner: str) -> Doc:
        """Charges a reserved order once. `payment_id` is the attempt: run again, it takes up where it was.

        Raises OrderNotFound, OrderNotPayable (and no money is kept), PaymentDeclined, and TryAgain while the
        provider does not say what it did.
        """
        order = await self._order(order_id, owner)
        if order["state"] == RESERVED and await self._extend(order, payment_id):
            await self._begin(order, payment_id, source)
            await self._authorise(order, payment_id, source)
            await self._commits.submit((order["hold_id"], payment_id))
        # What became of the order is final by now, whoever brought it about.
        order = await self._order(order_id, owner)
        if order.get("payment_id") != payment_id:
            await self._let_go(payment_id)
            raise OrderNotPayable(order=order_id, state=order["state"])
        return await self._capture(order_id, payment_id)

    async def drain(self) -> None:
        """Returns when the commits in hand are done."""
        await self._commits.drain()

    async def _order(self, order_id: str, owner: str) -> Doc:
        order = await self._database[ORDERS].find_one({"_id": order_id})
        if order is None or order["account_id"] != owner:
            raise OrderNotFound(order=order_id)
        return order

    async def _extend(self, order: Doc, payment_id: str) -> bool:
        """Whether the hold lasts for a charge. One that has expired is ended: nobody can pay it any more.

        An attempt that begins before the hold's own time is over may put its end off; one that has begun
        goes on while the hold does.
        """
        if await self._holds.extend(order["hold_id"], by=hold_for_payment(self._timeout)):
            return True
        hold = await self._holds.get(order["hold_id"])
        if hold is not None and hold["state"] == HELD and hold["expires_at"] > self._clock():
            return await self._database[PAYMENTS].find_one({"_id": payment_id}) is not None
        await self._holds.end([order["hold_id"]], cause=HOLD_EXPIRED)
        return False

    async def _begin(self, order: Doc, payment_id: str, source: str) -> None:
        fields = {
            "order_id": order["_id"],
            "amount": order["net"],
            "currency": order["currency"],
            "source": source,
            "created_at": self._clock(),
            "state": "started",
        }
        query = {"_id": payment_id}
        await self._database[PAYMENTS].update_one(query, {"$setOnInsert": fields}, upsert=True)

    async def _authorise(self, order: Doc, payment_id: str, source: str) -> None:
        amount = Money(amount=order["net"], currency=order["currency"])
        try:
            charge = await self._provider.authorise(key=payment_id, amount=amount, source=source)
        except ProviderTimeout:
            charge = await self._ask(payment_id)
        if charge.status == "declined":
            await self._end(payment_id, "declined", reason=charge.reason)
            raise PaymentDeclined(payment=payment_id, reason=charge.reason)
        if charge.status == "voided":
            raise OrderNotPayable(order=order["_id"], reason="the charge was voided")

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

    async def _commit(self, wanted: list[tuple[str, str]]) -> list[None]:
        first: dict[str, str] = {}
        for hold_id, payment_id in wanted:
            first.setdefault(hold_id, payment_id)
        await self._holds.end(first, cause=HOLD_PAID, facts=first)
        return [None] * len(wanted)

    async def _capture(self, order_id: str, payment_id: str) -> Doc:
        try:
            charge = await self._provider.capture(key=payment_id)
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=RECONCILE_AFTER) from error
        if charge.status != "captured":
            # Goods are sold and no money came: for people to see, as a dead job.
            raise CaptureRefused(f"{payment_id} is {charge.status}: {charge.reason}")
        await self._end(payment_id, "captured")
        return {"order_id": order_id, "order_state": PAID, "payment_id": payment_id}

    async def _let_go(self, payment_id: str) -> None:
        """Voids what the attempt has authorised, or may yet: a request can still be on its way."""
        if await self._database[PAYMENTS].find_one({"_id": payment_id}) is None:
            return
        try:
            charge = await self._provider.void(key=payment_id)
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=RECONCILE_AFTER) from error
        # One that was declined stays so.
        reason = charge.reason or "the order could not be paid any more"
        await self._end(payment_id, charge.status, reason=reason)

    async def _end(self, payment_id: str, state: str, *, reason: str | None = None) -> None:
        fields: Mapping[str, Any] = {"state": state, "reason": reason, "ended_at": self._clock()}
        await self._database[PAYMENTS].update_one({"_id": payment_id, "state": "started"}, {"$set": fields})
