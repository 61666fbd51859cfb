"""What payment providers tell by webhooks: late, repeated and out of order, it changes nothing twice.

Money that was captured and that no order takes is not kept: the order is reserved again, if that is so set
and its stock is there, or the money goes back; the customer is told which.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

from pymongo.errors import DuplicateKeyError

from domain.changes import Changes, Database, Doc
from domain.errors import NoticeMismatch, TryAgain
from domain.events.models import NewEvent
from domain.inventory.holds import Holds
from domain.inventory.rules import PAID as HOLD_PAID
from domain.orders.commands import PaymentNotice
from domain.orders.models import GOES_BACK, ORDERS, PAYMENTS
from domain.orders.payment_ends import DECLINED, End, PaymentEnds
from domain.orders.payments import OrderPayments
from domain.orders.refunds import ASK_AGAIN, Refunds
from domain.orders.reserving import Reserving
from domain.orders.rules import BEFORE_CAPTURE, EXPIRED, RESERVED, STARTED, moment, started
from domain.orders.steps import Step, Steps
from domain.ports import PaymentProvider, ProviderTimeout
from domain.values import Clock, Money

#: Pause before a payment is looked at again whose order is not there.
WAIT_FOR_ORDER = 30.0


class RefundNotMade(Exception):
    """Money came too late and does not go back: for people to see, as a dead job."""


class Notices:
    """Handles notices."""

    def __init__(
        self,
        *,
        database: Database,
        holds: Holds,
        payments: OrderPayments,
        ends: PaymentEnds,
        refunds: Refunds,
        reserving: Reserving,
        steps: Steps,
        provider: PaymentProvider,
        clock: Clock,
        late: Literal["refund", "reserve"],
    ) -> None:
        self._database = database
        self._holds = holds
        self._payments = payments
        self._ends = ends
        self._refunds = refunds
        self._reserving = reserving
        self._steps = steps
        self._provider = provider
        self._clock = clock
        self._late = late
        self._handlers: dict[str, Callable[[PaymentNotice, Doc, Doc], Awaitable[Doc]]] = {
            "payment.authorised": self._authorised,
            "payment.captured": self._captured,
            "payment.failed": self._failed,
            "payment.refunded": self._refunded,
        }

    async def handle(self, notice: PaymentNotice, *, notice_id: str) -> Doc:
        """What came of it. Raises NoticeMismatch, what paying raises, and TryAgain."""
        payment = await self._payment(notice)
        if payment is None:
            return {"ignored": "unknown_payment"}
        if notice.order_id not in (None, payment["order_id"]):
            raise NoticeMismatch(payment=payment["_id"], order=payment["order_id"])
        order = await self._steps.find(payment["order_id"])
        # Read after the order: what was decided of the payment before the order became what it is, is seen.
        payment = await self._database[PAYMENTS].find_one({"_id": payment["_id"]}) or payment
        if notice.type == "payment.refunded" and notice.refund_id is None:
            notice = notice.model_copy(update={"refund_id": notice_id})
        return await self._handlers[notice.type](notice, payment, order)

    async def _payment(self, notice: PaymentNotice) -> Doc | None:
        """The payment. One that was captured without us, for an order of ours, is written down first.

        A refund may be told of before that: it waits for its payment.
        """
        known = await self._database[PAYMENTS].find_one({"_id": notice.payment_id})
        if known is not None or notice.order_id is None:
            return known
        if notice.type == "payment.refunded":
            msg = "there is no such payment yet"
            raise TryAgain(msg, seconds=WAIT_FOR_ORDER)
        if notice.type != "payment.captured":
            return None
        order = await self._database[ORDERS].find_one({"_id": notice.order_id})
        if order is None:
            # A worker may have it in hand. Money for an order that never comes is for people to see.
            msg = "there is no such order yet"
            raise TryAgain(msg, seconds=WAIT_FOR_ORDER)
        source = f"webhook:{notice.provider}"
        payment = started(notice.payment_id, order, source=source, at=self._clock())
        if notice.amount is None:
            raise NoticeMismatch(payment=notice.payment_id, amount=payment["amount"])
        _require_amount(notice, payment)
        try:
            await self._database[PAYMENTS].insert_one(payment)
        except DuplicateKeyError:
            return await self._database[PAYMENTS].find_one({"_id": notice.payment_id})
        return payment

    async def _authorised(self, _: PaymentNotice, payment: Doc, order: Doc) -> Doc:
        if payment["state"] != STARTED:
            return {"ignored": "payment_ended"}
        return await self._payments.pay(
            order["_id"], payment_id=payment["_id"], source=payment["source"], owner=order["account_id"]
        )

    async def _captured(self, notice: PaymentNotice, payment: Doc, order: Doc) -> Doc:
        _require_amount(notice, payment)
        taken = order.get("payment_id") == payment["_id"]
        if payment["state"] == "refunded" or (taken and payment["state"] not in BEFORE_CAPTURE):
            return {"ignored": "repeated"}
        if order["state"] == RESERVED and not payment.get(GOES_BACK):
            order = await self._sell(order, payment)
        if order.get("payment_id") == payment["_id"]:
            await self._ends.captured(payment["_id"], order["account_id"])
            return {"order_id": order["_id"], "order_state": order["state"]}
        return await self._too_late(order, payment)

    async def _sell(self, order: Doc, payment: Doc) -> Doc:
        """Sells what is held, if it is; the order as it is then."""
        hold = order["hold_id"]
        await self._holds.end([hold], cause=HOLD_PAID, facts={hold: payment["_id"]})
        return await self._steps.find(order["_id"])

    async def _too_late(self, order: Doc, payment: Doc) -> Doc:
        if self._late == "reserve" and order["state"] == EXPIRED and not payment.get(GOES_BACK):
            again = await self._reserving.again(order["_id"], payment_id=payment["_id"])
            if again["state"] == RESERVED:
                again = await self._sell(again, payment)
            if again.get("payment_id") == payment["_id"]:
                await self._ends.captured(payment["_id"], order["account_id"])
                return {"order_id": order["_id"], "order_state": again["state"], "late": "reserved"}
        if not await self._decide_to_give_back(order, payment):
            msg = "the order took the payment meanwhile"
            raise TryAgain(msg)
        await self._give_back(order, payment)
        return {"order_id": order["_id"], "order_state": order["state"], "late": "refunded"}

    async def _decide_to_give_back(self, order: Doc, payment: Doc) -> bool:
        """Says in the store that the money goes back, before it does: no order can take it from then on.

        False where one took it before.
        """

        async def decided(found: Doc, at: datetime) -> Step | None:
            now = await self._database[PAYMENTS].find_one({"_id": payment["_id"]})
            if now is None or now.get(GOES_BACK) or found.get("payment_id") == payment["_id"]:
                return None
            changes = Changes()
            query = {"_id": payment["_id"], "state": now["state"]}
            changes.update(PAYMENTS, query, {"$set": {GOES_BACK: True}}, expect=1, name="late payment")
            line = moment(found["state"], at, reason="a payment came too late and goes back")
            return Step({"$push": {"timeline": line}}, changes=changes)

        found = await self._steps.take(order["_id"], decided)
        return bool(found.get("payment_id") != payment["_id"])

    async def _give_back(self, order: Doc, payment: Doc) -> None:
        amount = Money(amount=payment["amount"], currency=payment["currency"])
        key = payment["_id"]
        try:
            repaid = await self._provider.refund(key=key, amount=amount, refund_key=f"{key}-late")
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=ASK_AGAIN) from error
        if repaid.status == "refused":
            raise RefundNotMade(f"{key}: {repaid.reason}")
        await self._tell_refunded(order, payment)

    async def _tell_refunded(self, order: Doc, payment: Doc) -> None:
        """Marks the payment and tells the customer, together and once."""

        async def told(found: Doc, at: datetime) -> Step | None:
            now = await self._database[PAYMENTS].find_one({"_id": payment["_id"]})
            if now is None or now["state"] == "refunded":
                return None
            changes = Changes()
            fields = {"state": "refunded", "refunded": payment["amount"], "ended_at": at}
            query = {"_id": payment["_id"], "state": now["state"]}
            changes.update(PAYMENTS, query, {"$set": fields}, expect=1, name="late payment")
            data = {
                "order_id": found["_id"],
                "payment_id": payment["_id"],
                "amount": payment["amount"],
                "currency": payment["currency"],
                "reason": f"the order was {found['state']}",
            }
            event = NewEvent(found["account_id"], "payment.refunded", payment["_id"], data)
            line = moment(found["state"], at, reason="the late payment was refunded")
            return Step({"$push": {"timeline": line}}, [event], changes)

        await self._steps.take(order["_id"], told)

    async def _failed(self, notice: PaymentNotice, payment: Doc, order: Doc) -> Doc:
        if order.get("payment_id") == payment["_id"]:
            return {"ignored": "paid"}
        reason = notice.reason or "declined_by_provider"
        await self._ends.without_money(End(DECLINED, payment["_id"], order["account_id"], reason))
        return {"order_id": order["_id"], "order_state": order["state"]}

    async def _refunded(self, notice: PaymentNotice, payment: Doc, order: Doc) -> Doc:
        refund_id = str(notice.refund_id)
        known = next((each for each in order.get("refunds") or () if each["id"] == refund_id), None)
        if order.get("payment_id") != payment["_id"]:
            await self._refunded_unused(notice, payment, order)
        elif known is not None:
            _require_amount(notice, payment | {"amount": known["amount"]})
            order = await self._refunds.finish(order["_id"], refund_id)
        else:
            if notice.amount is None or notice.currency not in (None, order["currency"]):
                raise NoticeMismatch(payment=payment["_id"])
            order = await self._refunds.book(
                order["_id"], refund_id=refund_id, amount=notice.amount, actor=notice.provider
            )
        return {"order_id": order["_id"], "order_state": order["state"]}

    async def _refunded_unused(self, notice: PaymentNotice, payment: Doc, order: Doc) -> None:
        """Money that no order took has to go back as a whole."""
        if payment["state"] == STARTED and not payment.get(GOES_BACK):
            # The capture is not told of yet, which may pay the order.
            msg = "the payment is not captured yet"
            raise TryAgain(msg, seconds=WAIT_FOR_ORDER)
        _require_amount(notice, payment)
        await self._tell_refunded(order, payment)


def _require_amount(notice: PaymentNotice, payment: Doc) -> None:
    wrong = notice.amount not in (None, payment["amount"])
    if wrong or notice.currency not in (None, payment["currency"]):
        raise NoticeMismatch(payment=payment["_id"], amount=payment["amount"], currency=payment["currency"])
