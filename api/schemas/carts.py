"""Carts on the wire."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.checkout import TotalsView
from api.schemas.common import ID, TIME, Shown, Wire
from domain.discounts.rules import Codes
from domain.values import Money, Quantity, Sku

_PRICE: JsonDict = {"amount": 1800, "currency": "USD"}
_LINE: JsonDict = {
    "sku": "CHAI-1",
    "name": "Chai",
    "quantity": 2,
    "price": _PRICE,
    "seen_price": _PRICE,
    "amount": 3600,
    "problems": [],
}
_CART: JsonDict = {
    "version": ID,
    "lines": [_LINE],
    "codes": [],
    "totals": {
        "currency": "USD",
        "lines": [
            {
                "sku": "CHAI-1",
                "name": "Chai",
                "quantity": 2,
                "unit_price": 1800,
                "percent_off": 0,
                "gross": 3600,
                "net": 3600,
                "discount": 0,
                "tax": 0,
            }
        ],
        "gross": 3600,
        "net": 3600,
        "discounts": [],
        "discount": 0,
        "refusals": [],
        "shipping": 490,
        "tax": 0,
        "tax_included": False,
        "total": 4090,
    },
    "expires_at": TIME,
}


class NewLine(Wire):
    """Units to add."""

    sku: Sku
    quantity: Quantity

    model_config = ConfigDict(json_schema_extra={"examples": [{"sku": "CHAI-1", "quantity": 2}]})


class LineEdit(Wire):
    """So many units. `seen_price` takes note of a price that has changed: it has to be the price of now."""

    quantity: Quantity
    seen_price: Money | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantity": 3, "seen_price": _PRICE}]})


class CartCodes(Wire):
    """Codes of discounts, instead of those that the cart has."""

    codes: Codes

    model_config = ConfigDict(json_schema_extra={"examples": [{"codes": ["SPRING"]}]})


class MergeAsk(Wire):
    """The token of an anonymous cart."""

    token: Annotated[str, Field(min_length=1, max_length=100)]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": "xqZk2mVb8yT1pL5sW9dR3fG7hJ0aC4eN6uYiOoPqAbc"}]}
    )


class CartLineView(Shown):
    """One line. Null prices: it is not for sale. `amount` is what it costs now, before discounts."""

    sku: str
    name: str | None
    quantity: int
    price: Money | None
    seen_price: Money
    amount: int | None
    problems: list[Literal["not_for_sale", "price_changed", "out_of_stock", "short"]]


class ProblemView(Shown):
    """Why there are no totals."""

    code: str
    message: str
    detail: dict[str, Any]


class CartView(Shown):
    """A cart at the prices of now. `totals` are of the lines that are for sale."""

    version: str
    lines: list[CartLineView]
    codes: list[str]
    totals: TotalsView | None = None
    problem: ProblemView | None = None
    expires_at: str | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [_CART]})


class LeftOut(Shown):
    """Units for which the cart had no room."""

    sku: str
    quantity: int


class MergedView(CartView):
    """The account's cart after a merge."""

    left_out: list[LeftOut]

    model_config = ConfigDict(json_schema_extra={"examples": [{**_CART, "left_out": []}]})


class NewCart(Shown):
    """An anonymous cart. The token is shown this once, and goes into the header `Cart-Token`."""

    token: str
    cart: CartView
