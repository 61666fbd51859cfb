"""Search results on the wire."""

from typing import Any

from pydantic import ConfigDict, Field

from api.schemas.common import NextCursor, Shown
from api.schemas.products import ProductView

_PRODUCT: Any = ProductView.model_config.get("json_schema_extra")


class CountView(Shown):
    """So many products have this value."""

    value: str
    count: int


class BandView(Shown):
    """So many products have a price in this band, in minor units."""

    currency: str
    at_least: int
    below: int | None = Field(description="Null: there is no end.")
    count: int


class StockedView(Shown):
    """So many of the products that were looked at can be sold."""

    count: int
    checked: int
    exact: bool = Field(description="Whether those were all.")


class FacetsView(Shown):
    """Products by value of each facet that was asked for; null for the others."""

    types: list[CountView] | None = None
    categories: list[CountView] | None = None
    prices: list[BandView] | None = None
    attributes: dict[str, list[CountView]] | None = None
    in_stock: StockedView | None = None


class ProductPage(Shown):
    """Products in the order that was asked for."""

    products: list[ProductView]
    next_cursor: NextCursor
    total: int | None = Field(description="Products of all pages; null with `in_stock`.")
    facets: FacetsView | None = Field(description="Null where no facet was asked for.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "products": _PRODUCT["examples"],
                    "next_cursor": "IkNIQUkiIg",
                    "total": 1,
                    "facets": {
                        "types": [{"value": "clothing", "count": 1}],
                        "categories": None,
                        "prices": [{"currency": "USD", "at_least": 1000, "below": 2500, "count": 1}],
                        "attributes": {"size": [{"value": "M", "count": 1}]},
                        "in_stock": {"count": 1, "checked": 1, "exact": True},
                    },
                }
            ]
        }
    )
