"""Finding products: the listing of the catalogue."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.answers import json
from api.cursors import CursorOf, encode, invalid_cursor
from api.deps import PUBLIC, Limit, Plain, Public, Requires
from api.errors import invalid_field
from api.openapi import problems
from api.schemas.search import ProductPage
from domain.products import builder
from domain.products.builder import LONGEST_NAME, LONGEST_TEXT, MOST_VALUES, ProductQuery
from domain.products.forms import Status
from domain.products.rules import view
from domain.products.search_filters import Key, fits
from domain.products.search_rules import LONGEST_VALUE
from domain.values import Currency, Money, Text

routes = APIRouter(prefix="/v1", tags=["products"])

#: The question's fingerprint, and the key of the last product shown.
At = tuple[str, tuple[int | str, ...]]
Cursor = Annotated[At | None, Depends(CursorOf[At](At))]

Sort = Literal["relevance", "sku", "-sku", "name", "-name", "price", "-price", "newest"]
Facet = Literal["type", "category", "price", "attribute", "in_stock"]
Name = Annotated[Text, Query(max_length=100)]
Filter = Annotated[Text, Query(max_length=LONGEST_NAME + 1 + LONGEST_VALUE)]
Amount = Annotated[int, Field(ge=0, le=10**12), Plain]


async def _price(
    request: Request,
    min_price: Annotated[
        Amount | None, Query(description="In minor units, included.", examples=[500])
    ] = None,
    max_price: Annotated[
        Amount | None, Query(description="In minor units, included.", examples=[2000])
    ] = None,
    currency: Annotated[
        Currency | None, Query(description="Of the prices; by default the shop's, where there is a bound.")
    ] = None,
) -> tuple[Money | None, Money | None]:
    unit = currency or request.app.state.services.settings.orders.currency
    if currency is not None and min_price is None and max_price is None:
        min_price = 0
    low, high = (
        None if amount is None else Money(amount=amount, currency=unit) for amount in (min_price, max_price)
    )
    return low, high


async def _attributes(
    attribute: Annotated[
        list[Filter],
        Query(
            max_length=10 * MOST_VALUES,
            description="`name:value` of an attribute or option; a name twice: either value.",
            examples=[["size:M"]],
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> list[tuple[str, str]]:
    pairs = [each.partition(":") for each in attribute]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise invalid_field("query", "attribute", kind="name_value", message="Such as size:M.")
    return [(name.strip(), value.strip()) for name, _, value in pairs]


async def _statuses(
    request: Request,
    status: Annotated[
        list[Status],
        Query(max_length=3, description="Needs the scope `catalog:write`. `published` by default."),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Sequence[Status]:
    """Raises Unauthenticated and Forbidden for those who may not ask."""
    if status:
        await Requires("catalog:write")(request)
    return status


async def _query(
    *,
    prices: Annotated[tuple[Money | None, Money | None], Depends(_price)],
    attributes: Annotated[list[tuple[str, str]], Depends(_attributes)],
    statuses: Annotated[Sequence[Status], Depends(_statuses)],
    q: Annotated[
        Text | None,
        Query(max_length=LONGEST_TEXT, description="Words, or their beginnings.", examples=["chai"]),
    ] = None,
    kind: Annotated[list[Name], Query(alias="type", max_length=MOST_VALUES)] = [],  # noqa: B006
    category: Annotated[list[Name], Query(max_length=MOST_VALUES)] = [],  # noqa: B006
    in_stock: Annotated[bool, Query(description="Only what can be sold now.")] = False,
    sort: Annotated[Sort | None, Query(description="By relevance with `q`, else by SKU.")] = None,
) -> ProductQuery:
    query = builder.Query.all() if q is None else builder.Query.text(q)
    query = query.type(*kind).category(*category).price(*prices).status(*statuses)
    for name, value in attributes:
        query = query.where({name: value})
    query = query.in_stock() if in_stock else query
    return (query.sort(sort) if sort else query).build()


@routes.get(
    "/products",
    response_model=ProductPage,
    openapi_extra=PUBLIC,
    responses=problems(401, 403),
    summary="Search products",
)
async def search_products(
    services: Public,
    query: Annotated[ProductQuery, Depends(_query)],
    facet: Annotated[list[Facet], Query(max_length=5, description="Counts to answer.")] = [],  # noqa: B006
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Products that are for sale: those with all words of `q` that pass every filter."""
    found = await services.search.find(query, limit=limit, after=_after(query, cursor), facets=facet)
    views = [view(product, editor=bool(query.statuses)) for product in found.products]
    following = encode((query.fingerprint, found.following)) if found.following else None
    return json(
        {
            "products": await services.media.delivery.products(views, pictures=1),
            "next_cursor": following,
            "total": found.total,
            "facets": asdict(found.facets) if found.facets else None,
        }
    )


def _after(query: ProductQuery, cursor: At | None) -> Key | None:
    """Raises BadRequest for the cursor of another question."""
    if cursor is None:
        return None
    fingerprint, key = cursor
    if fingerprint != query.fingerprint or not fits(query.sort, key):
        raise invalid_cursor()
    return key
