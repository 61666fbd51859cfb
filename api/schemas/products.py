"""The catalogue on the wire."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.body import Examples
from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp
from api.schemas.pictures import PRODUCT_PICTURE, PictureView
from domain.values import Money

_USD: JsonDict = {"amount": 1800, "currency": "USD"}
_VARIANT: JsonDict = {
    "sku": "TEE-M-RED",
    "price": _USD,
    "compare_at_price": {"amount": 2400, "currency": "USD"},
    "options": {"size": "M", "colour": "red"},
    "weight_g": 180,
    "barcode": "4006381333931",
}
_PRODUCT: JsonDict = {
    "name": "Dock T-shirt",
    "category": "Tops",
    "description": "Heavy cotton, cut straight.",
    "type": "clothing",
    "attributes": {"fabric": [{"name": "cotton", "percent": 100}], "audience": "unisex"},
    "options": ["size", "colour"],
}
#: Shown with `POST /v1/products`.
NEW_PRODUCTS: Examples = {
    "full": {"value": {**_PRODUCT, "status": "draft", "variants": [_VARIANT]}},
    "short": {"value": {"sku": "CHAI-1", "name": "Chai", "price": _USD, "category": "Beverages"}},
}
#: Shown with `PATCH /v1/products/{ref}`.
EDITS: Examples = {
    "publish": {"value": {"status": "published"}},
    "reprice": {"value": {"variants": {"TEE-M-RED": {"price": {"amount": 1500, "currency": "USD"}}}}},
}


class VariantView(Shown):
    """What is sold under one SKU."""

    sku: str
    price: Money
    compare_at_price: Money | None
    options: dict[str, str] = Field(description="The value of each of the product's options.")
    weight_g: int
    barcode: str | None
    active: bool


class ProductView(Shown):
    """A product. `sku` and `price` are those of its first variant."""

    id: str
    slug: str
    sku: str
    name: str
    description: str | None
    category: str
    type: str
    attributes: dict[str, Any]
    price: Money
    options: list[str]
    variants: list[VariantView]
    media: list[PictureView] = Field(default=[], description="Its pictures; in lists the first alone.")
    status: str
    created_at: Timestamp
    updated_at: Timestamp
    published_at: Timestamp | None
    deleted_at: Timestamp | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ID,
                    "slug": "dock-t-shirt",
                    "sku": "TEE-M-RED",
                    "price": _USD,
                    **_PRODUCT,
                    "variants": [{**_VARIANT, "active": True}],
                    "media": [PRODUCT_PICTURE],
                    "status": "published",
                    "created_at": TIME,
                    "updated_at": TIME,
                    "published_at": TIME,
                }
            ]
        }
    )


class ProductType(Shown):
    """A type, and the JSON Schema of its products' `attributes`."""

    name: str
    attributes: dict[str, Any] = Field(description="A JSON Schema (draft 2020-12); measures have a `unit`.")


class ProductTypes(Shown):
    """Every type, by name."""

    product_types: list[ProductType]


class PriceChangeView(Shown):
    """One change of a price."""

    id: str
    sku: str
    before: Money
    after: Money
    actor: str = Field(description="The account that changed it.")
    at: Timestamp


class PriceHistory(Shown):
    """Changes of a price, newest first."""

    changes: list[PriceChangeView]
    next_cursor: NextCursor
