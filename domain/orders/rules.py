"""Deciding and showing orders. Pure; what they cost is in `pricing`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.errors import DomainError, HoldEnded, HoldMismatch, HoldNotFound
from domain.events.rules import rfc3339
from domain.inventory.rules import HELD, units_by_sku
from domain.jobs.rules import replayer
from domain.orders.pricing import Priced

PENDING, RESERVED, REJECTED = "pending", "reserved", "rejected"
PAID, EXPIRED, CANCELLED = "paid", "expired", "cancelled"
FULFILLED, COMPLETED, REFUNDED = "fulfilled", "completed", "refunded"
#: Who acts where nobody does.
SYSTEM = "system"
#: A payment that has begun.
STARTED = "started"
#: States of a payment that a capture can still follow.
BEFORE_CAPTURE = (STARTED, "declined", "voided")
#: Why an order is looked at again.
REPLAYED = "its job was replayed"

Doc = dict[str, Any]

#: The amounts of an order that could not be priced.
NO_TOTALS = Priced(lines=(), currency="", gross=0, net=0).totals()


def reservation_error(job: Doc, hold: Doc | None, *, now: datetime) -> DomainError | None:
    """Why the reservation cannot be used for the order; None when it can."""
    reservation_id = job["payload"]["reservation_id"]
    # An order's own hold is no reservation: it has the order's id.
    if hold is None or hold["account_id"] != job["owner"] or hold["order_id"] == hold["_id"]:
        return HoldNotFound(reservation=reservation_id)
    if hold["state"] != HELD or hold["order_id"] is not None or hold["expires_at"] <= now:
        return HoldEnded(reservation=reservation_id)
    held = {line["sku"]: line["quantity"] for line in hold["lines"]}
    if held != dict(units_by_sku(job["payload"]["items"])):
        return HoldMismatch(reservation=reservation_id)
    return None


def reserved_order(job: Doc, priced: Priced, *, hold: Mapping[str, Any], now: datetime) -> Doc:
    """The order document of a job that fits. It expires with its hold, which a payment may extend."""
    return {
        "_id": job["_id"],
        "account_id": job["owner"],
        "state": RESERVED,
        "currency": priced.currency,
        "lines": list(priced.lines),
        **priced.totals(),
        "address": job["payload"]["address"],
        "hold_id": hold["_id"],
        "expires_at": hold["expires_at"],
        "timeline": [*history_of(job), moment(RESERVED, now, reason="its stock is held")],
        "created_at": job["created_at"],
    }


def rejected_order(
    job: Doc, error: DomainError, priced: Priced | None, *, currency: str, now: datetime
) -> Doc:
    """The order document of a job that does not fit: what was wanted, and why not."""
    return {
        "_id": job["_id"],
        "account_id": job["owner"],
        "state": REJECTED,
        "currency": priced.currency if priced else currency,
        "lines": list(priced.lines) if priced else [_unpriced(item) for item in job["payload"]["items"]],
        **(priced.totals() if priced else NO_TOTALS),
        "address": job["payload"]["address"],
        "hold_id": None,
        "rejection": {"code": error.code, "message": error.message, "detail": error.detail},
        "timeline": [*history_of(job), moment(REJECTED, now, reason=error.code)],
        "created_at": job["created_at"],
    }


def _unpriced(item: Mapping[str, Any]) -> Doc:
    bare = {"name": "", "unit_price": 0, "percent_off": "0", "gross": 0, "net": 0}
    return {"sku": item["sku"], "quantity": item["quantity"], **bare}


def moment(state: str, at: datetime, *, actor: str = SYSTEM, reason: str | None = None) -> Doc:
    """One line of a timeline. `actor` is the id of an account, or what else acted."""
    return {"state": state, "at": at, "actor": actor, "reason": reason}


def hold_for_payment(timeout: timedelta) -> timedelta:
    """How long a hold has to last so that a charge can neither outlive it nor be unknown at its end."""
    return 2 * timeout + timedelta(seconds=5)


def due(order: Mapping[str, Any]) -> int:
    """What the customer pays, in minor units."""
    total = order.get("total")
    return int(order["net"] if total is None else total)


def started(payment_id: str, order: Mapping[str, Any], *, source: str, at: datetime) -> Doc:
    """The payment document of an attempt that begins."""
    return {
        "_id": payment_id,
        "order_id": order["_id"],
        "state": STARTED,
        "amount": due(order),
        "currency": order["currency"],
        "source": source,
        "created_at": at,
    }


def line_view(line: Mapping[str, Any]) -> Doc:
    """A stored line as it is shown."""
    return {"discount": 0, "tax": 0} | dict(line) | {"percent_off": float(line["percent_off"])}


def pending_view(job: Mapping[str, Any]) -> Doc:
    """An order that exists only as its job, as it is shown.

    `job_state` tells one that waits from one whose job is dead, which only a replay by ops can place.
    """
    return {
        "id": job["_id"],
        "account_id": job["owner"],
        "state": pending_state(job),
        "job_id": job["_id"],
        "job_state": job["state"],
        "payments": [],
        "created_at": rfc3339(job["created_at"]),
        "timeline": [moment_view(each) for each in history_of(job)],
    }


def pending_state(job: Mapping[str, Any]) -> str:
    """The state of an order that exists only as its job."""
    return CANCELLED if job["state"] == "cancelled" else PENDING


def history_of(job: Mapping[str, Any]) -> list[Doc]:
    """The timeline of an order until it is placed: when it came, and what was done to its job."""
    lines = [moment(PENDING, job["created_at"], actor=job["owner"], reason="it was ordered")]
    for each in job.get("history") or ():
        if each["state"] == "cancelled":
            actor, _, reason = str(each.get("note") or "").removeprefix("by ").partition(": ")
            lines.append(moment(CANCELLED, each["at"], actor=actor or job["owner"], reason=reason or None))
        elif (ops := replayer(each)) is not None:
            lines.append(moment(PENDING, each["at"], actor=ops, reason=REPLAYED))
    return lines


def replays_since_rejected(job: Mapping[str, Any]) -> list[Doc]:
    """The lines of a rejected order's timeline that tell who has its job run again."""
    history = list(job.get("history") or ())
    last = max((at for at, each in enumerate(history) if each["state"] == "failed"), default=-1)
    return [
        moment(REJECTED, each["at"], actor=ops, reason=REPLAYED)
        for each in history[last + 1 :]
        if (ops := replayer(each)) is not None
    ]


def moment_view(each: Mapping[str, Any]) -> Doc:
    """A line of a timeline as it is shown."""
    return {
        "state": each["state"],
        "at": rfc3339(each["at"]),
        "actor": each.get("actor"),
        "reason": each.get("reason"),
    }


def refund_view(refund: Mapping[str, Any]) -> Doc:
    """A refund as it is shown."""
    return {
        "id": refund["id"],
        "state": refund["state"],
        "amount": refund["amount"],
        "lines": refund["lines"],
        "other": refund["other"],
        "restock": refund["restock"],
        "reason": refund["reason"],
        "at": rfc3339(refund["at"]),
    }


def fulfilment_view(fulfilment: Mapping[str, Any]) -> Doc:
    """A fulfilment as it is shown."""
    shown = ("id", "lines", "tracking_number", "carrier")
    return {name: fulfilment[name] for name in shown} | {"at": rfc3339(fulfilment["at"])}


def view(order: Mapping[str, Any], *, payments: Sequence[Doc]) -> Doc:
    """A stored order as it is shown; JSON. Amounts are minor units of `currency`."""
    return {
        "id": order["_id"],
        "account_id": order["account_id"],
        "state": order["state"],
        "job_id": order["_id"],
        "currency": order["currency"],
        "gross": order["gross"],
        "net": order["net"],
        "discounts": order.get("discounts", []),
        "discount": order.get("discount", 0),
        "shipping": order.get("shipping", 0),
        "tax": order.get("tax", 0),
        "tax_included": order.get("tax_included", False),
        "total": due(order),
        "lines": [line_view(line) for line in order["lines"]],
        "address": order["address"],
        "hold_id": order["hold_id"],
        "expires_at": rfc3339(order["expires_at"]) if order["state"] == RESERVED else None,
        "rejection": order.get("rejection"),
        "payments": [
            {"id": each["_id"], "state": each["state"], "reason": each.get("reason")} for each in payments
        ],
        "created_at": rfc3339(order["created_at"]),
        "refunds": [refund_view(each) for each in order.get("refunds") or ()],
        "fulfilments": [fulfilment_view(each) for each in order.get("fulfilments") or ()],
        "timeline": [moment_view(each) for each in order["timeline"]],
    }
