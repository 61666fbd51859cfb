"""The catalogue."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.answers import json, page
from api.body import JsonBody
from api.deps import PUBLIC, Authenticated, Caller, IdCursor, Limit, Public, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.schemas.products import (
    EDITS,
    NEW_PRODUCTS,
    PriceHistory,
    ProductType,
    ProductTypes,
    ProductView,
)
from domain.bootstrap import Services
from domain.changes import Doc
from domain.events.rules import rfc3339
from domain.products import registry
from domain.products.forms import NewProduct, ProductEdit
from domain.products.rules import view

routes = APIRouter(prefix="/v1", tags=["products"])

#: Headers that credentials come in.
CREDENTIALS = ("authorization", "x-api-key")
_ANYBODY = Authenticated()
Clerk = Annotated[Caller, Depends(Requires("catalog:write"))]


async def _is_clerk(request: Request) -> bool:
    """Whether the caller edits the catalogue. Credentials are not needed; where there are some they count."""
    if not any(name in request.headers for name in CREDENTIALS):
        return False
    caller = await _ANYBODY(request)
    return caller.principal.may("catalog:write")


@routes.get(
    "/products/{ref}",
    response_model=ProductView,
    openapi_extra=PUBLIC,
    responses=problems(401, 404, 429),
    summary="One product",
)
async def get_product(ref: str, services: Public, is_clerk: Annotated[bool, Depends(_is_clerk)]) -> Response:
    """The product with this id, slug or SKU; those that are not for sale for callers with `catalog:write`."""
    if is_clerk:
        product = await services.products.get(ref)
        return await _tagged(services, view(product, editor=True), product["revision"])
    shown = await services.products.shown(ref)
    return await _tagged(services, shown.view, shown.revision)


@routes.post(
    "/products",
    status_code=201,
    response_model=ProductView,
    responses=problems(409),
    summary="Create a product",
)
async def create_product(
    caller: Clerk, form: Annotated[NewProduct, Depends(JsonBody(NewProduct, NEW_PRODUCTS))]
) -> Response:
    """The product, with an empty stock of each variant. Sent twice, the second answers `sku_taken`."""
    product = await caller.services.products.add(form)
    where = {"Location": f"/v1/products/{product['_id']}"}
    return await _tagged(caller.services, view(product, editor=True), product["revision"], 201, where)


@routes.patch(
    "/products/{ref}",
    response_model=ProductView,
    openapi_extra=CONDITIONAL,
    responses=problems(400, 404, 409, 412, 428),
    summary="Edit a product",
)
async def edit_product(
    ref: str,
    caller: Clerk,
    expected: IfMatch,
    form: Annotated[ProductEdit, Depends(JsonBody(ProductEdit, EDITS))],
) -> Response:
    """The product as it is now. What is left out stays; `variants` are by SKU, and new SKUs are added."""
    product = await caller.services.products.edit(ref, form, expected=expected, actor=caller.account_id)
    return await _tagged(caller.services, view(product, editor=True), product["revision"])


@routes.delete(
    "/products/{ref}",
    status_code=204,
    response_class=Response,
    openapi_extra=CONDITIONAL,
    responses=problems(400, 404, 412, 428),
    summary="Delete a product",
)
async def delete_product(ref: str, caller: Clerk, expected: IfMatch) -> Response:
    """Neither shown nor sold any more. Orders keep their lines; its SKUs and its slug stay taken."""
    await caller.services.products.delete(ref, expected=expected, actor=caller.account_id)
    return Response(status_code=204)


@routes.get(
    "/products/{ref}/variants/{sku}/prices",
    response_model=PriceHistory,
    responses=problems(404),
    summary="A variant's price history",
)
async def list_prices(
    ref: str, sku: str, caller: Clerk, limit: Limit = 50, cursor: IdCursor = None
) -> Response:
    """Who changed the price, when, from what to what; newest first. Deleted products have theirs, too."""
    rows = await caller.services.products.prices(ref, sku, before=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda change: change["_id"])
    return json({"changes": [_change(row) for row in shown], "next_cursor": following})


@routes.get("/product-types", response_model=ProductTypes, openapi_extra=PUBLIC, summary="Product types")
async def list_product_types() -> Response:
    """Every type that a product can have, with the JSON Schema of its attributes."""
    return json({"product_types": [_type(name) for name in registry.names()]})


@routes.get(
    "/product-types/{name}",
    response_model=ProductType,
    openapi_extra=PUBLIC,
    responses=problems(404),
    summary="One product type",
)
async def get_product_type(name: str) -> Response:
    """The type with this name."""
    return json(_type(name))


async def _tagged(services: Services, shown: Doc, revision: str, *more: Any) -> Response:
    """The product, with the addresses of its pictures."""
    (told,) = await services.media.delivery.products([shown])
    return tagged(told, revision, *more)


def _type(name: str) -> dict[str, Any]:
    return {"name": name, "attributes": registry.schema(name)}


def _change(row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: row[name] for name in ("sku", "before", "after", "actor")}
    return {"id": row["_id"], **shown, "at": rfc3339(row["at"])}
