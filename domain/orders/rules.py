"""Pricing, deciding and showing orders. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.errors import (
    CurrencyMismatch,
    DomainError,
    HoldEnded,
    HoldMismatch,
    HoldNotFound,
    OrderTooLarge,
    UnknownSku,
)
from domain.events.rules import rfc3339
from domain.inventory.rules import HELD, units_by_sku
from domain.values import Money

PENDING, RESERVED, REJECTED = "pending", "reserved", "rejected"
PAID, EXPIRED, CANCELLED = "paid", "expired", "cancelled"

Doc = dict[str, Any]

#: Minor units. Sums stay exact in JSON and in every client's numbers.
LARGEST_ORDER = 10**15


@dataclass(frozen=True, slots=True)
class Priced:
    """An order's lines with their prices, and the totals."""

    lines: tuple[Doc, ...]
    currency: str
    gross: int
    net: int


def price(items: Sequence[Mapping[str, Any]], products: Mapping[str, Doc]) -> Priced:
    """Prices items by agreement where they carry a price, else by the catalogue; each line rounds half-up.

    Raises UnknownSku, CurrencyMismatch, and OrderTooLarge.
    """
    unknown = sorted({item["sku"] for item in items if item["sku"] not in products})
    if unknown:
        raise UnknownSku(skus=unknown)
    lines = [_line(item, products[item["sku"]]) for item in items]
    currencies = sorted({currency for _, currency in lines})
    if len(currencies) > 1:
        raise CurrencyMismatch(currencies=currencies)
    priced = tuple(line for line, _ in lines)
    gross = sum(line["gross"] for line in priced)
    if gross > LARGEST_ORDER:
        raise OrderTooLarge(gross=gross, largest=LARGEST_ORDER)
    return Priced(lines=priced, currency=currencies[0], gross=gross, net=sum(line["net"] for line in priced))


def _line(item: Mapping[str, Any], product: Doc) -> tuple[Doc, str]:
    unit = Money.model_validate(item.get("unit_price") or product["price"])
    percent = Decimal(str(item.get("percent_off") or 0))
    gross = unit.times(item["quantity"])
    line = {
        "sku": item["sku"],
        "name": product["name"],
        "quantity": item["quantity"],
        "unit_price": unit.amount,
        "percent_off": format(percent.normalize(), "f"),
        "gross": gross.amount,
        "net": gross.percent_off(percent).amount,
    }
    return line, unit.currency


def reservation_error(job: Doc, hold: Doc | None, *, now: datetime) -> DomainError | None:
    """Why the reservation cannot be used for the order; None when it can."""
    reservation_id = job["payload"]["reservation_id"]
    if hold is None or hold["account_id"] != job["owner"]:
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
        "gross": priced.gross,
        "net": priced.net,
        "address": job["payload"]["address"],
        "hold_id": hold["_id"],
        "expires_at": hold["expires_at"],
        "timeline": [moment(PENDING, job["created_at"]), moment(RESERVED, now)],
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
        "gross": priced.gross if priced else 0,
        "net": priced.net if priced else 0,
        "address": job["payload"]["address"],
        "hold_id": None,
        "rejection": {"code": error.code, "message": error.message, "detail": error.detail},
        "timeline": [moment(PENDING, job["created_at"]), moment(REJECTED, now)],
        "created_at": job["created_at"],
    }


def _unpriced(item: Mapping[str, Any]) -> Doc:
    bare = {"name": "", "unit_price": 0, "percent_off": "0", "gross": 0, "net": 0}
    return {"sku": item["sku"], "quantity": item["quantity"], **bare}


def moment(state: str, at: datetime) -> Doc:
    """One line of a timeline."""
    return {"state": state, "at": at}


def hold_for_payment(timeout: timedelta) -> timedelta:
    """How long a hold has to last so that a charge can neither outlive it nor be unknown at its end."""
    return 2 * timeout + timedelta(seconds=5)


def pending_view(job: Mapping[str, Any]) -> Doc:
    """An order that exists only as its job, as it is shown.

    `job_state` tells one that waits from one whose job is dead, which only a replay by ops can place.
    """
    cancelled = job["state"] == "cancelled"
    state = CANCELLED if cancelled else PENDING
    timeline = [{"state": PENDING, "at": rfc3339(job["created_at"])}]
    if cancelled:
        timeline.append({"state": CANCELLED, "at": rfc3339(job["finished_at"])})
    return {
        "id": job["_id"],
        "state": state,
        "job_id": job["_id"],
        "job_state": job["state"],
        "created_at": rfc3339(job["created_at"]),
        "timeline": timeline,
    }


def view(order: Mapping[str, Any], *, payments: Sequence[Doc]) -> Doc:
    """A stored order as it is shown; JSON. Amounts are minor units of `currency`."""
    return {
        "id": order["_id"],
        "state": order["state"],
        "job_id": order["_id"],
        "currency": order["currency"],
        "gross": order["gross"],
        "net": order["net"],
        "lines": [line | {"percent_off": float(line["percent_off"])} for line in order["lines"]],
        "address": order["address"],
        "hold_id": order["hold_id"],
        "expires_at": rfc3339(order["expires_at"]) if order["state"] == RESERVED else None,
        "rejection": order.get("rejection"),
        "payments": [
            {"id": each["_id"], "state": each["state"], "reason": each.get("reason")} for each in payments
        ],
        "created_at": rfc3339(order["created_at"]),
        "timeline": [{"state": each["state"], "at": rfc3339(each["at"])} for each in order["timeline"]],
    }
