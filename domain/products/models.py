"""Products as stored."""

from datetime import datetime

import pymongo
from beanie import Document
from pymongo import IndexModel

from domain.values import Money

PRODUCTS = "products"


class Product(Document):
    """Something that is sold. Its id is its SKU."""

    id: str  # type: ignore[assignment]  # the SKU
    name: str
    price: Money
    category: str
    #: Anew with each write: tells whose write it was.
    revision: str
    created_at: datetime
    updated_at: datetime

    class Settings:
        """Where, and the one filter that lists it."""

        name = PRODUCTS
        indexes = (
            IndexModel([("category", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)], name="by_category"),
        )
