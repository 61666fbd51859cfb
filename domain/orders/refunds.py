"""Refunds: money back through the provider, whole or by line, once; stock back where it is asked for.

A refund first takes its units and its amount in the order, then asks the provider under its own id, then
says what became of it. Run again, it takes up where it was; of many at once each sees those before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.changes import Changes, Database, Doc
from domain.discounts import uses
from domain.errors import NoticeMismatch, RefundRefused, TryAgain
from domain.events.models import NewEvent
from domain.orders import states
from domain.orders.fulfilment import completion
from domain.orders.models import COMPLETIONS, PAYMENTS
from domain.orders.restocking import restock
from domain.orders.rules import FULFILLED, PAID, REFUNDED, due, moment
from domain.orders.shares import DONE, REFUSED, STARTED, fits, is_sent, refund_of, refunded, to_refund
from domain.orders.steps import Step, Steps
from domain.ports import PaymentProvider, ProviderTimeout
from domain.values import Money

#: Pause before a provider that did not answer, or a charge that is not captured yet, is asked again.
ASK_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What is to be paid back: units by SKU, or all that is left."""

    refund_id: str
    units: Mapping[str, int] | None
    restock: bool
    reason: str
    actor: str


class Refunds:
    """Pays orders back."""

    def __init__(
        self, *, database: Database, steps: Steps, provider: PaymentProvider, complete_after: timedelta
    ) -> None:
        self._database = database
        self._steps = steps
        self._provider = provider
        self._complete_after = complete_after

    async def refund(self, order_id: str, request: RefundRequest) -> Doc:
        """Refunds once per `refund_id`; what was refunded.

        Raises OrderNotFound, InvalidTransition, NothingLeft, TooManyUnits, RefundRefused (and the units are
        there to be refunded again), and TryAgain while the provider does not answer.
        """

        async def begin(order: Doc, at: datetime) -> Step | None:
            if _find(order, request.refund_id) is not None:
                return None
            states.require(order_id, order["state"], REFUNDED)
            return _begin(order, request, refund_of(order, request.units), at)

        order = await self._steps.take(order_id, begin)
        refund = _entry(order, request.refund_id)
        if refund["state"] == STARTED:
            await self._pay_back(order, refund)
            order = await self.finish(order_id, request.refund_id)
        elif refund["state"] == REFUSED:
            raise RefundRefused(order=order_id, refund=request.refund_id)
        return {
            "order_id": order_id,
            "order_state": order["state"],
            "refund_id": request.refund_id,
            "amount": refund["amount"],
        }

    async def book(self, order_id: str, *, refund_id: str, amount: int, actor: str) -> Doc:
        """Books a refund that was made at the provider, without us.

        Raises InvalidTransition, and NoticeMismatch where it is more than is left.
        """
        request = RefundRequest(refund_id, {}, restock=False, reason="refunded at the provider", actor=actor)

        async def begin(order: Doc, at: datetime) -> Step | None:
            if _find(order, refund_id) is not None:
                return None
            states.require(order_id, order["state"], REFUNDED)
            if amount > due(order) - refunded(order):
                raise NoticeMismatch(order=order_id, refund=refund_id)
            return _begin(order, request, {"lines": [], "other": amount, "amount": amount}, at)

        await self._steps.take(order_id, begin)
        return await self.finish(order_id, refund_id)

    async def finish(self, order_id: str, refund_id: str) -> Doc:
        """Says that the money is back: with it stock, uses of discounts and the order's state. Idempotent.

        Raises NoticeMismatch for one that was refused, and whose units or money have gone back otherwise.
        """

        async def done(order: Doc, at: datetime) -> Step | None:
            refund = _entry(order, refund_id)
            if refund["state"] == DONE:
                return None
            if refund["state"] == REFUSED and not fits(order, refund):
                raise NoticeMismatch(order=order_id, refund=refund_id)
            return await self._done(order, refund, at)

        return await self._steps.take(order_id, done)

    async def _pay_back(self, order: Doc, refund: Doc) -> None:
        if not refund["amount"]:
            return
        payment = await self._database[PAYMENTS].find_one({"_id": order["payment_id"]})
        if payment is not None and payment["state"] == "started":
            msg = "the charge is not captured yet"
            raise TryAgain(msg, seconds=ASK_AGAIN)
        amount = Money(amount=refund["amount"], currency=order["currency"])
        try:
            repaid = await self._provider.refund(
                key=order["payment_id"], amount=amount, refund_key=refund["id"]
            )
        except ProviderTimeout as error:
            raise TryAgain(str(error), seconds=ASK_AGAIN) from error
        if repaid.status == "refused":
            await self._refuse(order["_id"], refund["id"], repaid.reason)
            raise RefundRefused(order=order["_id"], refund=refund["id"], reason=repaid.reason)

    async def _refuse(self, order_id: str, refund_id: str, reason: str | None) -> None:
        async def refused(order: Doc, at: datetime) -> Step | None:
            refund = _entry(order, refund_id)
            if refund["state"] != STARTED:
                return None
            data = {"order_id": order_id, "refund_id": refund_id, "reason": reason}
            line = moment(order["state"], at, actor=refund["actor"], reason=f"refund refused: {reason}")
            return Step(
                _ended(order, refund, REFUSED, at) | {"$push": {"timeline": line}},
                [NewEvent(order["account_id"], "order.refund_refused", order_id, data)],
            )

        await self._steps.take(order_id, refused)

    async def _done(self, order: Doc, refund: Doc, at: datetime) -> Step:
        state, changes = _state_after(order, refund), Changes()
        update = _ended(order, refund, DONE, at)
        update["$set"]["state"] = state
        if state == FULFILLED and order["state"] == PAID:
            changes.insert(COMPLETIONS, [completion(order["_id"], at + self._complete_after)])
        update["$push"] = {
            "timeline": moment(state, at, actor=refund["actor"], reason=f"refunded: {refund['reason']}")
        }
        if state == REFUNDED:
            uses.release_refunded(changes, order.get("redemptions") or [], at=at)
        self._mark_payment(changes, order, refund, whole=state == REFUNDED)
        data = {
            "order_id": order["_id"],
            "state": state,
            "refund_id": refund["id"],
            "amount": refund["amount"],
            "currency": order["currency"],
            "lines": refund["lines"],
            "whole": state == REFUNDED,
        }
        events = [NewEvent(order["account_id"], "order.refunded", order["_id"], data)]
        if refund["restock"] and refund["lines"]:
            said = {"act_id": refund["id"], "actor": refund["actor"], "reason": refund["reason"]}
            events += await restock(self._database, changes, order, refund["lines"], **said, at=at)
        return Step(update, events, changes)

    @staticmethod
    def _mark_payment(changes: Changes, order: Doc, refund: Doc, *, whole: bool) -> None:
        fields = {"refunded": refunded(order, state=DONE) + refund["amount"]}
        if whole:
            fields |= {"state": "refunded"}
        query = {"_id": order["payment_id"]}
        changes.update(PAYMENTS, query, {"$set": fields}, expect=None, name="payment of the refund")


def _begin(order: Doc, request: RefundRequest, found: Doc, at: datetime) -> Step:
    refund = {
        "id": request.refund_id,
        "state": STARTED,
        **found,
        "restock": request.restock,
        "reason": request.reason,
        "actor": request.actor,
        "at": at,
    }
    line = moment(order["state"], at, actor=request.actor, reason=f"refund begun: {request.reason}")
    return Step({"$push": {"refunds": refund, "timeline": line}})


def _ended(order: Doc, refund: Doc, state: str, at: datetime) -> Doc:
    index = order["refunds"].index(refund)
    return {"$set": {f"refunds.{index}.state": state, f"refunds.{index}.ended_at": at}}


def _state_after(order: Doc, refund: Doc) -> str:
    """Refunded once all money is back; fulfilled where, by the refund, nothing is left to send."""
    back = refunded(order, state=DONE) + refund["amount"]
    whole = back == due(order) and (back > 0 or not any(to_refund(order)))
    if whole:
        return REFUNDED
    sent = order["state"] == PAID and is_sent(order, made=refund["id"])
    return FULFILLED if sent else str(order["state"])


def _find(order: Doc, refund_id: str) -> Doc | None:
    return next((each for each in order.get("refunds") or () if each["id"] == refund_id), None)


def _entry(order: Doc, refund_id: str) -> Doc:
    found = _find(order, refund_id)
    if found is None:
        msg = f"order {order['_id']} has no refund {refund_id}"
        raise LookupError(msg)
    return found
