"""Discounts on the wire: previews, and what is shown. What makes one is in `discount_steps`."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp, Wire
from api.schemas.discount_steps import Amount, BuyGet
from domain.discounts.rules import Codes
from domain.values import Id, Money, Quantity, Sku


class PreviewItem(Wire):
    """Units of one SKU, at the catalogue's price."""

    sku: Sku
    quantity: Quantity


class PreviewAsk(Wire):
    """Items, or the own cart, and codes to try on them; without `codes` a cart's own.

    With `account_id` (scope discounts:write) as that customer would.
    """

    items: Annotated[tuple[PreviewItem, ...], Field(min_length=1, max_length=200)] | SkipJsonSchema[None] = (
        None
    )
    cart: Literal[True] | SkipJsonSchema[None] = None
    codes: Codes | SkipJsonSchema[None] = None
    shipping: Amount | None = None
    account_id: Id | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.items is None) == (self.cart is None):
            raise ValueError("a preview is of either items or the cart")
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"sku": "CHAI-1", "quantity": 3}], "codes": ["SPRING", "LOYAL"]}],
            "oneOf": [{"required": ["items"]}, {"required": ["cart"]}],
        }
    )


class LineOff(Shown):
    """What is taken off one line; `line` is its place in the request, from 0."""

    line: int
    sku: str
    amount: int


class ApplicationView(Shown):
    """What one discount takes off."""

    discount_id: str
    code: str | None
    name: str
    kind: str
    by_line: list[LineOff]
    shipping: int
    amount: int


class PreviewView(Shown):
    """What would be taken off now, in minor units of `currency`; no use of any discount is taken."""

    currency: str
    subtotal: int
    shipping: int
    discounts: list[ApplicationView]
    refusals: list[dict[str, Any]]
    discount: int
    total: int


class DiscountView(Shown):
    """A discount as it is stored."""

    id: str
    code: str | None
    name: str
    kind: str
    percent: float | None
    fixed: Money | None
    buy_get: BuyGet | None
    free_shipping: bool
    on: list[dict[str, str]]
    groups: list[str]
    min_spend: Money | None
    cap: Money | None
    budget: Money | None
    limit: int | None
    per_customer: int | None
    starts_at: Timestamp | None
    ends_at: Timestamp | None
    stackable_with: list[str]
    priority: int
    active: bool
    exhausted_at: Timestamp | None
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp


class DiscountPage(Shown):
    """Discounts, newest first."""

    discounts: list[DiscountView]
    next_cursor: NextCursor


class UseCount(Shown):
    """Uses, and what they took off, by currency."""

    uses: int
    amounts: dict[str, int]


class CustomerUsage(Shown):
    """What one customer used of it."""

    account_id: str
    held: UseCount
    committed: UseCount
    released: UseCount


class UsageView(Shown):
    """What was used of a discount: held by orders that wait for their payment, committed, released."""

    discount_id: str
    code: str | None
    held: UseCount
    committed: UseCount
    released: UseCount
    limit: int | None
    uses_left: int | None
    budget: Money | None
    budget_left: Money | None
    exhausted_at: Timestamp | None
    customers: list[CustomerUsage]
    next_cursor: NextCursor

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "discount_id": ID,
                    "code": "SPRING",
                    "held": {"uses": 1, "amounts": {"USD": 1000}},
                    "committed": {"uses": 499, "amounts": {"USD": 481200}},
                    "released": {"uses": 12, "amounts": {"USD": 11800}},
                    "limit": 500,
                    "uses_left": 0,
                    "budget": {"amount": 500000, "currency": "USD"},
                    "budget_left": {"amount": 17800, "currency": "USD"},
                    "exhausted_at": TIME,
                    "customers": [
                        {
                            "account_id": ID,
                            "held": {"uses": 0, "amounts": {"USD": 0}},
                            "committed": {"uses": 1, "amounts": {"USD": 1000}},
                            "released": {"uses": 0, "amounts": {"USD": 0}},
                        }
                    ],
                    "next_cursor": "IjAxOWE5ZDJlIg",
                }
            ]
        }
    )
