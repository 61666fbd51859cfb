"""Jobs of the pool `orders`, and the expiry that the pool `inventory` runs."""

from typing import Annotated, Literal

from pydantic import Field

from domain.discounts.rules import Codes
from domain.jobs.commands import Command
from domain.jobs.masking import SECRET
from domain.orders.expected import Expected
from domain.values import Id, Money, Percent, Quantity, Sku, Text, Value


class OrderItem(Value):
    """Units of one SKU. `unit_price` and `percent_off` are agreed prices; without them the server prices."""

    sku: Sku
    quantity: Quantity
    unit_price: Money | None = None
    percent_off: Percent | None = None


class Address(Value):
    """Where an order goes."""

    name: Annotated[Text, Field(max_length=200)]
    line1: Annotated[Text, Field(max_length=200)]
    line2: Annotated[Text, Field(max_length=200)] | None = None
    city: Annotated[Text, Field(max_length=100)]
    region: Annotated[Text, Field(max_length=100)] | None = None
    postal_code: Annotated[Text, Field(max_length=20)] | None = None
    country: Annotated[Text, Field(min_length=2, max_length=60)]


class PlaceOrder(Command):
    """Price the items and reserve their stock. The job's id is the order's."""

    kind = "orders.place"
    pool = "orders"
    items: Annotated[tuple[OrderItem, ...], Field(min_length=1, max_length=1000)]
    address: Address
    reservation_id: Id | None = None
    #: Of discounts. One that does not apply rejects the order, which then says why.
    codes: Codes | None = None
    #: What the customer was told that it costs, where it was accepted from a cart or a quote.
    expected: Expected | None = None


class PayOrder(Command):
    """Charge a reserved order. The job's id is the payment's, and the provider's key."""

    kind = "orders.pay"
    pool = "orders"
    order_id: str
    source: Annotated[Text, Field(max_length=200), SECRET]


class CancelOrder(Command):
    """Cancel an order that is not paid, and give its stock back."""

    kind = "orders.cancel"
    pool = "orders"
    order_id: str
    reason: Annotated[Text, Field(max_length=200)] | None = None
    #: Set for who may cancel anybody's.
    by_staff: Literal[True] | None = None


class RefundUnits(Value):
    """Units of one SKU of an order."""

    sku: Sku
    quantity: Quantity


class RefundOrder(Command):
    """Pay an order back, whole or in part. The job's id is the refund's, and the provider's key."""

    kind = "orders.refund"
    pool = "orders"
    order_id: str
    #: None for all that is left.
    lines: tuple[RefundUnits, ...] | None = None
    restock: bool = False
    reason: Annotated[Text, Field(max_length=200)]


class PaymentNotice(Command):
    """What a payment provider told, by a webhook. The job's key is the webhook's id."""

    kind = "payments.notice"
    pool = "orders"
    provider: str
    type: Literal["payment.authorised", "payment.captured", "payment.failed", "payment.refunded"]
    payment_id: str
    order_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    refund_id: str | None = None
    reason: str | None = None


class ExpireHolds(Command):
    """End holds whose time is over, with the orders they were for."""

    kind = "orders.expire"
    pool = "inventory"
    hold_ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
