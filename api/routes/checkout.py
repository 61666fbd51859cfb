"""Checkout: quotes, and the tables of shipping and tax rates."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import json
from api.body import JsonBody
from api.deps import Caller, Requires
from api.errors import invalid_field
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.schemas.checkout import QUOTE, QuoteAsk, QuoteView, ShippingRates, TaxRates
from domain.orders.commands import OrderItem

routes = APIRouter(prefix="/v1/checkout", tags=["checkout"])

Buyer = Annotated[Caller, Depends(Requires("orders:write"))]
Clerk = Annotated[Caller, Depends(Requires("catalog:write"))]


def require_agreeable(caller: Caller, items: tuple[OrderItem, ...]) -> None:
    """Raises RequestValidationError for too many lines, and Forbidden for prices that need a scope."""
    longest = caller.services.settings.orders.max_lines
    if len(items) > longest:
        raise invalid_field(
            "body", "items", kind="too_long", message=f"An order has at most {longest} lines."
        )
    if any(item.unit_price is not None or item.percent_off is not None for item in items):
        caller.principal.require("orders:price")


@routes.post(
    "/quote", status_code=201, response_model=QuoteView, responses=problems(409), summary="Get a quote"
)
async def make_quote(caller: Buyer, ask: Annotated[QuoteAsk, Depends(JsonBody(QuoteAsk, QUOTE))]) -> Response:
    """What it would cost, promised for some minutes. Takes no stock. A repetition makes another quote."""
    services = caller.services
    if not ask.items:
        version = ask.cart.version if ask.cart else None
        quote = await services.checkout.quote_cart(caller.account_id, country=ask.country, version=version)
    else:
        require_agreeable(caller, ask.items)
        items = [item.model_dump(mode="json", exclude_none=True) for item in ask.items]
        quote = await services.quotes.make(
            items, codes=ask.codes or (), country=ask.country, account_id=caller.account_id
        )
    where = {"Location": f"/v1/checkout/quotes/{quote['_id']}"}
    return json(services.quotes.view(quote), 201, where)


@routes.get("/quotes/{quote_id}", response_model=QuoteView, responses=problems(404), summary="One quote")
async def get_quote(quote_id: str, caller: Buyer) -> Response:
    """The caller's quote as it was made, and whether it can still be ordered."""
    quote = await caller.services.quotes.get(quote_id, account_id=caller.account_id)
    return json(caller.services.quotes.view(quote))


@routes.get("/shipping-rates", response_model=ShippingRates, summary="What shipping costs")
async def get_shipping_rates(caller: Clerk) -> Response:
    """The table, with the `ETag` that replacing it asks for."""
    table = await caller.services.tables.shipping()
    return tagged(ShippingRates(rates=table.rates), table.revision)


@routes.put(
    "/shipping-rates",
    response_model=ShippingRates,
    responses=problems(400, 412, 428),
    openapi_extra=CONDITIONAL,
    summary="Say what shipping costs",
)
async def put_shipping_rates(
    caller: Clerk, expected: IfMatch, wanted: Annotated[ShippingRates, Depends(JsonBody(ShippingRates))]
) -> Response:
    """Replaces the table. Every process calculates with it within seconds."""
    table = await caller.services.tables.replace_shipping(
        wanted.rates, expected=expected, by=caller.account_id
    )
    return tagged(ShippingRates(rates=table.rates), table.revision)


@routes.get("/tax-rates", response_model=TaxRates, summary="What tax is due")
async def get_tax_rates(caller: Clerk) -> Response:
    """The table, with the `ETag` that replacing it asks for."""
    table = await caller.services.tables.tax()
    return tagged(TaxRates(rates=table.rates), table.revision)


@routes.put(
    "/tax-rates",
    response_model=TaxRates,
    responses=problems(400, 412, 428),
    openapi_extra=CONDITIONAL,
    summary="Say what tax is due",
)
async def put_tax_rates(
    caller: Clerk, expected: IfMatch, wanted: Annotated[TaxRates, Depends(JsonBody(TaxRates))]
) -> Response:
    """Replaces the table. Every process calculates with it within seconds."""
    table = await caller.services.tables.replace_tax(wanted.rates, expected=expected, by=caller.account_id)
    return tagged(TaxRates(rates=table.rates), table.revision)
