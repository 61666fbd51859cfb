"""Products as stored."""

from datetime import datetime
from typing import Any

import pymongo
from beanie import Document
from pydantic import BaseModel, Field
from pymongo import IndexModel

from domain.values import Money

PRODUCTS = "products"
SKUS = "skus"
PRICE_CHANGES = "price_changes"


class Variant(BaseModel):
    """What is sold under one SKU."""

    sku: str
    price: Money
    compare_at_price: Money | None
    #: The value of each option of the product.
    options: dict[str, str]
    weight_g: int
    barcode: str | None
    active: bool


class Product(Document):
    """Something that is sold, with its variants. Never removed: orders name its SKUs."""

    id: str  # type: ignore[assignment]  # a UUIDv7
    slug: str
    name: str
    description: str | None
    category: str
    type: str
    #: In the form of the product's type.
    attributes: dict[str, Any]
    #: Names of what tells the variants apart.
    options: list[str]
    variants: list[Variant]
    #: Pictures in their order, each with all that is shown of it: see `domain.media.rules.attached`.
    media: list[dict[str, Any]] = Field(default=[])
    status: str
    #: Anew with each write: the ETag, and how a writer knows its own write again.
    revision: str
    created_at: datetime
    updated_at: datetime
    #: When it was first for sale; None where nobody has seen it yet.
    published_at: datetime | None
    deleted_at: datetime | None

    class Settings:
        """Where; the slug that is a product's alone, and the filter of exports, and who shows a medium."""

        name = PRODUCTS
        indexes = (
            IndexModel([("slug", pymongo.ASCENDING)], unique=True, name="by_slug"),
            IndexModel([("category", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)], name="by_category"),
            IndexModel([("media.id", pymongo.ASCENDING)], name="by_medium", sparse=True),
        )


class SkuRow(Document):
    """What an order has to know of a SKU, see `domain.products.rules.SkuFacts`; written with its product.

    Never removed, so that a SKU is never given twice.
    """

    id: str  # type: ignore[assignment]  # the SKU
    product_id: str
    name: str
    price: Money
    category: str
    type: str
    weight_g: int
    sellable: bool
    #: Whether it was ever for sale.
    public: bool

    class Settings:
        """Where. Found by SKU alone."""

        name = SKUS


class PriceChange(Document):
    """One change of a SKU's price. Never changed, never deleted."""

    id: str  # type: ignore[assignment]  # a UUIDv7
    sku: str
    product_id: str
    before: Money
    after: Money
    actor: str
    at: datetime

    class Settings:
        """Where, and how a SKU's history is read."""

        name = PRICE_CHANGES
        indexes = (IndexModel([("sku", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)], name="by_sku"),)
