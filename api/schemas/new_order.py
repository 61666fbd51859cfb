"""What comes in for an order: items, the cart, or a quote."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from api.schemas.checkout import CartRef
from api.schemas.common import ID, Wire
from domain.discounts.rules import Codes
from domain.orders.commands import Address, OrderItem, PlaceOrder
from domain.values import Id

_ADDRESS = {"name": "Ada Lovelace", "line1": "12 St James's Square", "city": "London", "country": "GB"}
#: Shown with `POST /v1/orders`.
NEW_ORDER = {
    "catalogue prices": {
        "value": {"items": [{"sku": "CHAI-1", "quantity": 2}], "address": _ADDRESS},
    },
    "with a code": {
        "value": {"items": [{"sku": "CHAI-1", "quantity": 2}], "codes": ["SPRING"], "address": _ADDRESS},
    },
    "the cart": {"value": {"cart": {}, "address": _ADDRESS}},
    "a quote": {"value": {"quote_id": ID, "address": _ADDRESS}},
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
#: The ways to say what is ordered, and what goes with items alone.
SOURCES = ("items", "cart", "quote_id")
WITH_ITEMS = ("codes", "reservation_id")


def _only(source: str) -> dict[str, Any]:
    """In JSON Schema: this one is there, and those that do not go with it are not, or are null."""
    others = {*SOURCES, *WITH_ITEMS} - {source} - (set(WITH_ITEMS) if source == "items" else set())
    without: dict[str, Any] = {
        name: False if name == "items" else {"type": "null"} for name in sorted(others)
    }
    return {"required": [source], "properties": {source: {"not": {"type": "null"}}, **without}}


class NewOrder(Wire):
    """Exactly one of `items`, `cart` and `quote_id`; `codes` and `reservation_id` go with items.

    A cart's order takes what is in it, with its codes; a quote's costs what was quoted.
    """

    items: Annotated[tuple[OrderItem, ...], Field(min_length=1, max_length=1000)] = ()
    cart: CartRef | None = None
    quote_id: Id | None = None
    address: Address
    #: Of discounts. One that does not apply rejects the order, which then says why.
    codes: Codes | None = None
    reservation_id: Id | None = None

    model_config = ConfigDict(json_schema_extra={"oneOf": [_only(source) for source in SOURCES]})

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum((bool(self.items), self.cart is not None, self.quote_id is not None)) != 1:
            raise ValueError("an order is of exactly one of items, cart and quote_id")
        if not self.items and any(getattr(self, name) is not None for name in WITH_ITEMS):
            raise ValueError("codes and reservation_id go with items")
        return self

    def of_items(self) -> PlaceOrder:
        """The command: all of it has been validated."""
        return PlaceOrder.model_construct(
            items=self.items,
            address=self.address,
            codes=self.codes,
            reservation_id=self.reservation_id,
        )

    def body(self) -> dict[str, Any]:
        """What a repetition has to repeat."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"items"})
