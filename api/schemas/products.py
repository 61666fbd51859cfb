"""The catalogue on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.schemas.common import NextCursor, Shown, Timestamp, Wire
from domain.values import Money, Sku

_CHAI: JsonDict = {
    "sku": "CHAI-1",
    "name": "Chai",
    "price": {"amount": 1800, "currency": "USD"},
    "category": "Beverages",
}


class NewProduct(Wire):
    """A product to sell. `price.amount` is in minor units: 1800 is 18.00."""

    sku: Sku
    name: Annotated[str, Field(min_length=1, max_length=200)]
    price: Money
    category: Annotated[str, Field(min_length=1, max_length=100)]

    model_config = ConfigDict(json_schema_extra={"examples": [_CHAI]})


class ProductView(Shown):
    """A product."""

    sku: str
    name: str
    price: Money
    category: str
    created_at: Timestamp
    updated_at: Timestamp


class ProductPage(Shown):
    """Products by SKU."""

    products: list[ProductView]
    next_cursor: NextCursor
