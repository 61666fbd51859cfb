"""Carts: of accounts, and of whoever has the token."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.answers import json
from api.body import JsonBody
from api.deps import KEYED, PUBLIC, Caller, IdempotencyKey, Public, Requires
from api.device import address_of
from api.etag import Expected, if_match, tagged
from api.openapi import problems
from api.schemas.carts import CartCodes, CartView, LineEdit, MergeAsk, MergedView, NewCart, NewLine
from domain.accounts.throttle import network_of
from domain.bootstrap import Services
from domain.carts.models import account_cart
from domain.carts.service import Cart
from domain.errors import TooManyRequests
from domain.orders.shipping import Country

routes = APIRouter(prefix="/v1", tags=["carts"])

#: Headers that an account's credentials come in.
CREDENTIALS = ("authorization", "x-api-key")


@dataclass(frozen=True, slots=True)
class Shopper:
    """Whose cart it is: an account's, or a stranger's."""

    services: Services
    cart_id: str
    account_id: str | None

    async def shown(self, cart: Cart, country: str | None = None, **more: Any) -> Response:
        """The cart as it is shown, with its `ETag`."""
        view = await self.services.cart_views.show(cart, account_id=self.account_id, country=country)
        return tagged(view | more, cart.revision)


class Shops(Requires):
    """As `Requires`; or, without an account, by the header `Cart-Token`. An account goes first.

    Raises CartNotFound for a token of no cart.
    """

    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        cart_token: Annotated[
            str | None,
            Header(description="The token of an anonymous cart, instead of credentials.", max_length=100),
        ] = None,
    ) -> Shopper:
        """The shopper."""
        services: Services = request.app.state.services
        if cart_token is not None and not any(name in request.headers for name in CREDENTIALS):
            return Shopper(services, services.carts.of_token(cart_token), None)
        caller = await super().__call__(request)
        return Shopper(services, account_cart(caller.account_id), caller.account_id)


async def _expected(
    request: Request,
    _: Annotated[
        str | None,
        Header(alias="If-Match", description="The `ETag` of the cart that was seen; without it, any."),
    ] = None,
) -> Expected:
    return if_match(request) if "if-match" in request.headers else None


Anybody = Annotated[Shopper, Depends(Shops("orders:write"))]
Member = Annotated[Caller, Depends(Requires("orders:write"))]
Seen = Annotated[Expected, Depends(_expected)]
Destination = Annotated[
    Country | None, Query(min_length=2, description="Where to: for shipping and tax.", examples=["GB"])
]
#: Statuses of every change.
EDIT = problems(400, 404, 409, 412)


@routes.post(
    "/carts",
    status_code=201,
    response_model=NewCart,
    responses=problems(429),
    openapi_extra=PUBLIC,
    summary="Begin an anonymous cart",
)
async def create_cart(request: Request, services: Public) -> Response:
    """An empty cart and its token. A repetition makes another; what stays empty is deleted after a day."""
    await _spend(request, services)
    token, cart = await services.carts.create_anonymous()
    view = await services.cart_views.show(cart, account_id=None)
    return json({"token": token, "cart": view}, 201)


async def _spend(request: Request, services: Services) -> None:
    """Nobody fills the store with empty carts. Raises TooManyRequests."""
    key, most = f"carts:{network_of(address_of(request))}", services.settings.carts.new_per_minute
    spent = await services.accounts.limiter.spend(key, limit=most, seconds=60)
    if not spent.allowed:
        raise TooManyRequests(retry_after=max(1, math.ceil(spent.reset)))


@routes.get("/cart", response_model=CartView, responses=problems(404), summary="The cart")
async def get_cart(shopper: Anybody, country: Destination = None) -> Response:
    """The cart at the prices of now, with what has changed since its lines were added."""
    return await shopper.shown(await shopper.services.carts.look(shopper.cart_id), country)


@routes.post(
    "/cart/items", response_model=CartView, responses=EDIT, openapi_extra=KEYED, summary="Add to the cart"
)
async def add_item(
    shopper: Anybody,
    key: IdempotencyKey,
    seen: Seen,
    line: Annotated[NewLine, Depends(JsonBody(NewLine))],
) -> Response:
    """More units; what others add at the same time is added, too. A repetition of the key adds nothing."""
    cart = await shopper.services.carts.add(
        shopper.cart_id, sku=line.sku, quantity=line.quantity, key=key, expected=seen
    )
    return await shopper.shown(cart)


@routes.put("/cart/items/{sku}", response_model=CartView, responses=EDIT, summary="Set a line of the cart")
async def set_item(
    sku: str,
    shopper: Anybody,
    seen: Seen,
    edit: Annotated[LineEdit, Depends(JsonBody(LineEdit))],
) -> Response:
    """So many units of a line that there is; with `seen_price`, the customer knows of the price of now."""
    cart = await shopper.services.carts.set_quantity(
        shopper.cart_id, sku=sku, quantity=edit.quantity, seen=edit.seen_price, expected=seen
    )
    return await shopper.shown(cart)


@routes.delete(
    "/cart/items/{sku}", response_model=CartView, responses=EDIT, summary="Take a line out of the cart"
)
async def remove_item(sku: str, shopper: Anybody, seen: Seen) -> Response:
    """Without the line. Once it is gone, it changes nothing."""
    cart = await shopper.services.carts.remove(shopper.cart_id, sku, expected=seen)
    return await shopper.shown(cart)


@routes.put("/cart/codes", response_model=CartView, responses=EDIT, summary="Set the cart's codes")
async def set_codes(
    shopper: Anybody,
    seen: Seen,
    wanted: Annotated[CartCodes, Depends(JsonBody(CartCodes))],
) -> Response:
    """With these codes and no others. Those that do not apply are kept, and shown as refused."""
    cart = await shopper.services.carts.set_codes(shopper.cart_id, wanted.codes, expected=seen)
    return await shopper.shown(cart)


@routes.delete("/cart", response_model=CartView, responses=EDIT, summary="Empty the cart")
async def clear_cart(shopper: Anybody, seen: Seen) -> Response:
    """Without lines and codes."""
    return await shopper.shown(await shopper.services.carts.clear(shopper.cart_id, expected=seen))


@routes.post(
    "/cart/merge", response_model=MergedView, responses=problems(404), summary="Take over an anonymous cart"
)
async def merge_cart(caller: Member, ask: Annotated[MergeAsk, Depends(JsonBody(MergeAsk))]) -> Response:
    """What it holds is added to the account's cart, once: a repetition answers the cart as it is by then."""
    merged = await caller.services.carts.merge(ask.token, account_id=caller.account_id)
    shopper = Shopper(caller.services, merged.cart.id, caller.account_id)
    return await shopper.shown(merged.cart, left_out=list(merged.left_out))
