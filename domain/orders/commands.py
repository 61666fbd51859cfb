"""Jobs of the pool `orders`, and the expiry that the pool `inventory` runs."""

from typing import Annotated

from pydantic import Field

from domain.jobs.commands import Command
from domain.values import Id, Money, Percent, Quantity, Sku, Value


class OrderItem(Value):
    """Units of one SKU. `unit_price` and `percent_off` are agreed prices; without them the server prices."""

    sku: Sku
    quantity: Quantity
    unit_price: Money | None = None
    percent_off: Percent | None = None


class Address(Value):
    """Where an order goes."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    line1: Annotated[str, Field(min_length=1, max_length=200)]
    line2: Annotated[str, Field(max_length=200)] | None = None
    city: Annotated[str, Field(min_length=1, max_length=100)]
    region: Annotated[str, Field(max_length=100)] | None = None
    postal_code: Annotated[str, Field(max_length=20)] | None = None
    country: Annotated[str, Field(min_length=2, max_length=60)]


class PlaceOrder(Command):
    """Price the items and reserve their stock. The job's id is the order's."""

    kind = "orders.place"
    pool = "orders"
    items: Annotated[tuple[OrderItem, ...], Field(min_length=1, max_length=1000)]
    address: Address
    reservation_id: Id | None = None


class PayOrder(Command):
    """Charge a reserved order. The job's id is the payment's, and the provider's key."""

    kind = "orders.pay"
    pool = "orders"
    order_id: str
    source: Annotated[str, Field(min_length=1, max_length=200)]


class CancelOrder(Command):
    """Cancel an order that is not paid, and give its stock back."""

    kind = "orders.cancel"
    pool = "orders"
    order_id: str


class ExpireHolds(Command):
    """End holds whose time is over, with the orders they were for."""

    kind = "orders.expire"
    pool = "inventory"
    hold_ids: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
