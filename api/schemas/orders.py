"""Orders on the wire. What comes in for one is in `new_order`."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from api.schemas.common import NextCursor, Shown, Wire
from api.schemas.order_life import FulfilmentView, RefundView
from domain.values import Text


class NewPayment(Wire):
    """What to charge.

    The sandbox knows `sandbox:approve`, `sandbox:decline`, `sandbox:timeout`, `sandbox:timeout-unseen` and
    `sandbox:twice`; it declines any other.
    """

    source: Annotated[Text, Field(max_length=200)]

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "sandbox:approve"}]})


class CancelAsk(Wire):
    """Why, if there is something to say. The customer sees it."""

    reason: Annotated[Text, Field(max_length=200)] | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "ordered twice"}]})


class Moment(Shown):
    """A state, and since when."""

    state: str
    at: str
    #: The id of the account that acted, or what else did: `system`, or a payment provider.
    actor: str | None = None
    reason: str | None = None


class LineView(Shown):
    """One line as it was priced, in minor units."""

    sku: str
    name: str
    quantity: int
    unit_price: int
    percent_off: float
    gross: int
    net: int
    discount: int
    tax: int


class PaymentView(Shown):
    """One attempt to pay."""

    id: str
    state: str
    reason: str | None


class OrderView(Shown):
    """An order; while it is `pending`, what its job tells of it."""

    id: str
    #: Whose it is.
    account_id: str
    state: str
    job_id: str
    #: While the order is `pending`; `dead` where it will stay so until ops replay its job.
    job_state: str | None = None
    currency: str | None = None
    gross: int | None = None
    net: int | None = None
    discounts: list[dict[str, Any]] | None = None
    discount: int | None = None
    shipping: int | None = None
    tax: int | None = None
    tax_included: bool | None = None
    total: int | None = None
    lines: list[LineView] | None = None
    address: dict[str, Any] | None = None
    hold_id: str | None = None
    expires_at: str | None = None
    rejection: dict[str, Any] | None = None
    payments: list[PaymentView] | None = None
    refunds: list[RefundView] | None = None
    fulfilments: list[FulfilmentView] | None = None
    created_at: str
    timeline: list[Moment]


class OrderPage(Shown):
    """Orders, newest first."""

    orders: list[OrderView]
    next_cursor: NextCursor
