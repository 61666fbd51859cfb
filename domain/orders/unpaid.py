"""Orders that are paid by our books, whose money the provider did not hand over: they can be cancelled."""

from datetime import datetime

from domain.changes import Changes, Database, Doc
from domain.discounts import uses
from domain.errors import TryAgain
from domain.orders.models import GOES_BACK, PAYMENTS
from domain.orders.payment_ends import CAPTURED, DECLINED, VOIDED, PaymentEnds
from domain.orders.restocking import restock
from domain.orders.rules import CANCELLED, PAID, moment
from domain.orders.shares import refunds_of
from domain.orders.steps import Step, Steps, order_event
from domain.ports import PaymentProvider, ProviderTimeout

#: How a payment ends that no money came of.
WITHOUT_MONEY = (DECLINED, VOIDED)
#: Pause before a provider that did not answer is asked again.
ASK_AGAIN = 1.0


class Unpaid:
    """Takes back a sale that nobody has paid for."""

    def __init__(
        self, *, database: Database, steps: Steps, provider: PaymentProvider, ends: PaymentEnds
    ) -> None:
        self._database = database
        self._steps = steps
        self._provider = provider
        self._ends = ends

    async def cancel(self, order_id: str, *, actor: str, reason: str | None) -> Doc:
        """The order: cancelled, with its stock and uses of discounts given back; else as it is.

        It is left as it is where its money came, or may yet, and where a part was sent or refunded.
        Raises TryAgain while the provider does not answer.
        """
        order = await self._steps.find(order_id)
        payment_id = order.get("payment_id")
        if not _is_whole(order) or not await self._came_to_nothing(order):
            return order

        async def cancelled(found: Doc, at: datetime) -> Step | None:
            if found.get("payment_id") != payment_id or not _is_whole(found):
                return None
            return await self._cancelled(found, at, actor=actor, reason=reason)

        return await self._steps.take(order_id, cancelled)

    async def _came_to_nothing(self, order: Doc) -> bool:
        """Whether no money came, and none can come from here on: the provider is told to let go of it."""
        payment = await self._database[PAYMENTS].find_one({"_id": order.get("payment_id")})
        if payment is None or payment["state"] not in WITHOUT_MONEY:
            return False
        try:
            charge = await self._provider.void(key=payment["_id"])
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=ASK_AGAIN) from error
        if charge.status == CAPTURED:
            await self._ends.captured(payment["_id"], order["account_id"])
        return charge.status != CAPTURED

    async def _cancelled(self, order: Doc, at: datetime, *, actor: str, reason: str | None) -> Step:
        changes = Changes()
        # Money that is told of after all goes back.
        query = {"_id": order["payment_id"], "state": {"$in": list(WITHOUT_MONEY)}}
        changes.update(PAYMENTS, query, {"$set": {GOES_BACK: True}}, expect=1, name="payment without money")
        uses.release_refunded(changes, order.get("redemptions") or [], at=at)
        back = await restock(
            self._database,
            changes,
            order,
            order["lines"],
            act_id=order["_id"],
            actor=actor,
            reason=reason or "cancelled, as its money did not come",
            at=at,
        )
        update = {
            "$set": {"state": CANCELLED},
            "$unset": {"payment_id": ""},
            "$push": {"timeline": moment(CANCELLED, at, actor=actor, reason=reason)},
        }
        told = order_event(order["account_id"], order["_id"], CANCELLED, reason=reason)
        return Step(update, [told, *back], changes)


def _is_whole(order: Doc) -> bool:
    """Whether it is paid by our books, and nothing of it is sent or refunded."""
    return order["state"] == PAID and not order.get("fulfilments") and not refunds_of(order)
