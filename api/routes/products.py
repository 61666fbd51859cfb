"""The catalogue."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.answers import page
from api.body import JsonBody
from api.deps import PUBLIC, Caller, Cursor, Limit, Public, Requires
from api.openapi import problems
from api.schemas.products import NewProduct, ProductPage, ProductView
from domain.products.models import Product

routes = APIRouter(prefix="/v1/products", tags=["products"])


@routes.get("", openapi_extra=PUBLIC, summary="List products")
async def list_products(
    services: Public,
    limit: Limit = 50,
    cursor: Cursor = None,
    category: Annotated[str | None, Query(max_length=100)] = None,
) -> ProductPage:
    """Products by SKU."""
    rows = await services.products.page(after=cursor, category=category, limit=limit + 1)
    shown, following = page(rows, limit, lambda product: product.id)
    return ProductPage(products=[_view(product) for product in shown], next_cursor=following)


@routes.get("/{sku}", openapi_extra=PUBLIC, responses=problems(404), summary="One product")
async def get_product(sku: str, services: Public) -> ProductView:
    """The product with this SKU."""
    return _view(await services.products.get(sku))


@routes.post("", status_code=201, responses=problems(409), summary="Create a product")
async def create_product(
    caller: Annotated[Caller, Depends(Requires("catalog:write"))],
    product: Annotated[NewProduct, Depends(JsonBody(NewProduct))],
) -> ProductView:
    """The product, with an empty stock at the default location."""
    created = await caller.services.inventory.introduce(
        sku=product.sku, name=product.name, price=product.price, category=product.category
    )
    return _view(created)


def _view(product: Product) -> ProductView:
    return ProductView(sku=product.id, **product.model_dump(exclude={"id", "revision_id"}))
