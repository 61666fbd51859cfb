"""What is told of orders and of their payments."""

from typing import Any, Literal

from domain.events.registry import ACCOUNT, ID, Amount, Currency, EventData, event

_ORDER: dict[str, Any] = {"order_id": ID}
_MONEY: dict[str, Any] = {"amount": 3600, "currency": "USD"}


class Part(EventData):
    """Units of one line of the order."""

    line: int
    sku: str
    quantity: int


class RefundedPart(Part):
    """Units of one line whose price goes back."""

    amount: Amount


@event(
    "order.reserved",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER | {"state": "reserved", "net": 3600, "total": 3600, "currency": "USD"},
)
class OrderReserved(EventData):
    """Stock is held for the order; again, without `net` and `total`, where `late` is true."""

    order_id: str
    state: Literal["reserved"]
    net: Amount | None = None
    total: Amount | None = None
    currency: Currency
    late: bool = False


@event(
    "order.rejected",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER | {"state": "rejected", "code": "out_of_stock"},
)
class OrderRejected(EventData):
    """The order does not fit; `code` says why."""

    order_id: str
    state: Literal["rejected"]
    code: str


@event(
    "order.paid",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER | {"state": "paid", "payment_id": ID},
)
class OrderPaid(EventData):
    """The hold is committed to an authorised payment. `payment.captured` follows, or `job.dead`."""

    order_id: str
    state: Literal["paid"]
    payment_id: str


@event("order.expired", subject="order", whose=ACCOUNT, example=_ORDER | {"state": "expired"})
class OrderExpired(EventData):
    """The time of the order's hold was over: its units are for sale again."""

    order_id: str
    state: Literal["expired"]


@event(
    "order.cancelled",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER | {"state": "cancelled", "reason": "ordered twice"},
)
class OrderCancelled(EventData):
    """An order that no money came of was cancelled; `reason` where one was given."""

    order_id: str
    state: Literal["cancelled"]
    reason: str | None = None


@event(
    "order.fulfilled",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER
    | {
        "state": "fulfilled",
        "fulfilment_id": ID,
        "lines": [{"line": 0, "sku": "CHAI-1", "quantity": 2}],
        "tracking_number": "JD014600003",
        "carrier": "DHL",
    },
)
class OrderFulfilled(EventData):
    """Units were sent; `state` is `fulfilled` with the last of them."""

    order_id: str
    state: str
    fulfilment_id: str
    lines: list[Part]
    tracking_number: str | None
    carrier: str | None


@event("order.completed", subject="order", whose=ACCOUNT, example=_ORDER | {"state": "completed"})
class OrderCompleted(EventData):
    """A fulfilled order was completed."""

    order_id: str
    state: Literal["completed"]


@event(
    "order.refunded",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER
    | _MONEY
    | {
        "state": "refunded",
        "refund_id": ID,
        "lines": [{"line": 0, "sku": "CHAI-1", "quantity": 2, "amount": 3600}],
        "whole": True,
    },
)
class OrderRefunded(EventData):
    """Money was paid back; `whole` where it was all."""

    order_id: str
    state: str
    refund_id: str
    amount: Amount
    currency: Currency
    lines: list[RefundedPart]
    whole: bool


@event(
    "order.refund_refused",
    subject="order",
    whose=ACCOUNT,
    example=_ORDER | {"refund_id": ID, "reason": "account_closed"},
)
class OrderRefundRefused(EventData):
    """The provider did not pay back."""

    order_id: str
    refund_id: str
    reason: str | None


class _Payment(EventData):
    order_id: str
    payment_id: str
    amount: Amount
    currency: Currency


@event("payment.captured", subject="payment", whose=ACCOUNT, example=_ORDER | _MONEY | {"payment_id": ID})
class PaymentCaptured(_Payment):
    """The provider has handed the money over: soon after `order.paid`, or too late for the order."""


@event(
    "payment.declined",
    subject="payment",
    whose=ACCOUNT,
    example=_ORDER | _MONEY | {"payment_id": ID, "reason": "insufficient_funds"},
)
class PaymentDeclined(_Payment):
    """The provider refused a charge; the order can be paid by another while it is reserved."""

    reason: str | None


@event(
    "payment.voided",
    subject="payment",
    whose=ACCOUNT,
    example=_ORDER | _MONEY | {"payment_id": ID, "reason": "the order could not be paid any more"},
)
class PaymentVoided(_Payment):
    """A charge was let go before money moved: the order could not be paid any more."""

    reason: str | None


@event(
    "payment.refunded",
    subject="payment",
    whose=ACCOUNT,
    example=_ORDER | _MONEY | {"payment_id": ID, "reason": "the order was expired"},
)
class PaymentRefunded(_Payment):
    """Money that came too late for its order was paid back. Of other refunds `order.refunded` tells."""

    reason: str | None
