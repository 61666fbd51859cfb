"""Refunds and fulfilments on the wire."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from api.schemas.common import ID, TIME, Shown, Wire
from domain.orders.commands import RefundUnits
from domain.values import Text


def _each_once(lines: Sequence[RefundUnits]) -> Sequence[RefundUnits]:
    if len({line.sku for line in lines}) < len(lines):
        msg = "a SKU is named twice"
        raise ValueError(msg)
    return lines


#: Units by SKU, each SKU once. Without any: all that is left.
Units = Annotated[tuple[RefundUnits, ...], Field(min_length=1, max_length=1000), AfterValidator(_each_once)]
_LINES: JsonValue = [{"line": 0, "sku": "CHAI-1", "quantity": 1}]


class NewRefund(Wire):
    """What to pay back. `restock` puts the units on the shelf again."""

    lines: Units | None = None
    restock: bool = False
    reason: Annotated[Text, Field(max_length=200)]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reason": "the customer changed her mind", "restock": True},
                {"lines": [{"sku": "CHAI-1", "quantity": 1}], "reason": "broken"},
            ]
        }
    )


class NewFulfilment(Wire):
    """What is sent, and how."""

    lines: Units | None = None
    tracking_number: Annotated[Text, Field(max_length=100)] | None = None
    carrier: Annotated[Text, Field(max_length=100)] | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "lines": [{"sku": "CHAI-1", "quantity": 1}],
                    "tracking_number": "RM123456785GB",
                    "carrier": "Royal Mail",
                }
            ]
        }
    )


class PartView(Shown):
    """Units of one line of the order, by the line's place from 0."""

    line: int
    sku: str
    quantity: int


class RefundedPart(PartView):
    """The same, with what is paid back for it, in minor units."""

    amount: int


class RefundView(Shown):
    """A refund: started, done or refused. `other` is what of its amount is no line's, such as shipping."""

    id: str
    state: str
    amount: int
    lines: list[RefundedPart]
    other: int
    restock: bool
    reason: str
    at: str


class FulfilmentView(Shown):
    """What was sent."""

    id: str
    lines: list[PartView]
    tracking_number: str | None
    carrier: str | None
    at: str


class Fulfilled(FulfilmentView):
    """What was sent, and what the order is now."""

    order_id: str
    order_state: str

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "9f2c4b0a7d5e4c0c8a3f6b1e2d4c5b6a",
                    "order_id": ID,
                    "order_state": "fulfilled",
                    "lines": _LINES,
                    "tracking_number": "RM123456785GB",
                    "carrier": "Royal Mail",
                    "at": TIME,
                }
            ]
        }
    )
