"""Orders on the wire. What comes in for an order is the command itself, `PlaceOrder`."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from api.schemas.common import ID, NextCursor, Shown, Wire

_ADDRESS = {"name": "Ada Lovelace", "line1": "12 St James's Square", "city": "London", "country": "GB"}
#: Shown with `POST /v1/orders`.
PLACE_ORDER = {
    "catalogue prices": {
        "value": {"items": [{"sku": "CHAI-1", "quantity": 2}], "address": _ADDRESS},
    },
    "agreed prices (scope orders:price)": {
        "value": {
            "items": [
                {
                    "sku": "CHAI-1",
                    "quantity": 12,
                    "unit_price": {"amount": 1440, "currency": "USD"},
                    "percent_off": 12.5,
                }
            ],
            "address": _ADDRESS,
        },
    },
    "from a reservation": {
        "value": {
            "items": [{"sku": "CHAI-1", "quantity": 2}],
            "address": _ADDRESS,
            "reservation_id": ID,
        },
    },
}


class NewPayment(Wire):
    """What to charge.

    The sandbox knows `sandbox:approve`, `sandbox:decline`, `sandbox:timeout`, `sandbox:timeout-unseen` and
    `sandbox:twice`; it declines any other.
    """

    source: Annotated[str, Field(min_length=1, max_length=200)]

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "sandbox:approve"}]})


class Moment(Shown):
    """A state, and since when."""

    state: str
    at: str


class LineView(Shown):
    """One line as it was priced, in minor units."""

    sku: str
    name: str
    quantity: int
    unit_price: int
    percent_off: float
    gross: int
    net: int


class PaymentView(Shown):
    """One attempt to pay."""

    id: str
    state: str
    reason: str | None


class OrderView(Shown):
    """An order; while it is `pending`, what its job tells of it."""

    id: str
    state: str
    job_id: str
    #: While the order is `pending`; `dead` where it will stay so until ops replay its job.
    job_state: str | None = None
    currency: str | None = None
    gross: int | None = None
    net: int | None = None
    lines: list[LineView] | None = None
    address: dict[str, Any] | None = None
    hold_id: str | None = None
    expires_at: str | None = None
    rejection: dict[str, Any] | None = None
    payments: list[PaymentView] | None = None
    created_at: str
    timeline: list[Moment]


class OrderPage(Shown):
    """Orders, newest first."""

    orders: list[OrderView]
    next_cursor: NextCursor
