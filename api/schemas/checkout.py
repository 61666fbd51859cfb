"""Quotes and tables of rates on the wire."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from api.schemas.common import Shown, Wire
from api.schemas.orders import LineView
from domain.discounts.rules import Codes
from domain.orders.commands import OrderItem
from domain.orders.shipping import MAX_ROWS, ShippingRate
from domain.orders.taxes import TaxRate
from domain.values import Text

#: Shown with `POST /v1/checkout/quote`.
QUOTE = {
    "the cart": {"value": {"cart": {}, "country": "GB"}},
    "items": {
        "value": {"items": [{"sku": "CHAI-1", "quantity": 2}], "codes": ["SPRING"], "country": "GB"},
    },
}
_SHIPPING: JsonDict = {
    "rates": [
        {"country": "GB", "up_to_g": 2000, "price": {"amount": 490, "currency": "USD"}},
        {"country": "GB", "price": {"amount": 990, "currency": "USD"}},
        {"country": "*", "up_to_g": 20000, "price": {"amount": 2490, "currency": "USD"}},
    ]
}
_TAX: JsonDict = {
    "rates": [
        {"country": "GB", "name": "VAT", "percent": 20, "included": True, "on_shipping": True},
        {"country": "US", "name": "Sales tax", "percent": 8.875},
    ]
}


class CartRef(Wire):
    """The caller's cart; with `version` only as the caller saw it."""

    version: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class QuoteAsk(Wire):
    """What to quote: the cart with its codes, or items with codes. `country` as in the order's address."""

    items: Annotated[tuple[OrderItem, ...], Field(min_length=1, max_length=1000)] = ()
    cart: CartRef | None = None
    codes: Codes | None = None
    country: Annotated[Text, Field(min_length=2, max_length=60)]

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if bool(self.items) == (self.cart is not None):
            raise ValueError("a quote is of either items or the cart")
        if self.cart is not None and self.codes is not None:
            raise ValueError("the cart has its own codes")
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["items"], "properties": {"cart": {"type": "null"}}},
                {
                    "required": ["cart"],
                    "properties": {
                        "cart": {"not": {"type": "null"}},
                        "items": False,
                        "codes": {"type": "null"},
                    },
                },
            ]
        }
    )


class ByLine(Shown):
    """What a discount takes off one line, which `line` counts from 0."""

    line: int
    sku: str
    amount: int


class DiscountApplied(Shown):
    """One discount: what it takes off each line and the shipping; `amount` is all of it."""

    discount_id: str
    code: str | None
    name: str
    kind: str
    by_line: list[ByLine]
    shipping: int
    amount: int


class TotalsView(Shown):
    """What it costs, in minor units. `total` is `net` - `discount` + `shipping`, + `tax` if not included."""

    currency: str
    lines: list[LineView]
    gross: int
    net: int
    discounts: list[DiscountApplied]
    discount: int
    #: Codes that do not apply, with the `reason`.
    refusals: list[dict[str, Any]]
    shipping: int
    tax: int
    tax_included: bool
    total: int


class QuoteView(TotalsView):
    """A promise until `expires_at`, for one order."""

    id: str
    state: Literal["open", "expired", "ordered"]
    order_id: str | None
    country: str
    codes: list[str]
    created_at: str
    expires_at: str


class ShippingRates(Wire):
    """The table: the lightest rate that takes the weight. Empty: nothing is charged. `*` is elsewhere."""

    rates: Annotated[tuple[ShippingRate, ...], Field(max_length=MAX_ROWS)]

    model_config = ConfigDict(json_schema_extra={"examples": [_SHIPPING]})


class TaxRates(Wire):
    """The table. A country without an entry has no tax, unless there is one for `*`."""

    rates: Annotated[tuple[TaxRate, ...], Field(max_length=MAX_ROWS)]

    model_config = ConfigDict(json_schema_extra={"examples": [_TAX]})
