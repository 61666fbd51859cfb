"""Orders: placed, paid and cancelled by jobs; read from the store."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.answers import accepted, json, page, submit
from api.body import JsonBody
from api.deps import KEYED, Caller, IdCursor, IdempotencyKey, Limit, Requires, Wait
from api.openapi import problems
from api.routes.checkout import require_agreeable
from api.schemas.common import JobAccepted
from api.schemas.new_order import NEW_ORDER, NewOrder
from api.schemas.order_filters import Filters
from api.schemas.orders import CancelAsk, NewPayment, OrderPage, OrderView
from api.submission import Submission, Submits
from api.waiting import find_job
from domain.errors import OrderNotFound
from domain.jobs.models import Accepted
from domain.orders.checkout import OrderRequest
from domain.orders.commands import CancelOrder, PayOrder, PlaceOrder

routes = APIRouter(prefix="/v1/orders", tags=["orders"])

Reader = Annotated[Caller, Depends(Requires("orders:read", "orders:manage", "ops:read"))]
Canceller = Annotated[Caller, Depends(Requires("orders:write", "orders:manage"))]
Charge = Annotated[Submission[NewPayment], Depends(Submits("orders:write", NewPayment))]


@routes.post(
    "",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404, 409),
    openapi_extra=KEYED,
    summary="Place an order",
)
async def place_order(
    placed: Annotated[Submission[NewOrder], Depends(Submits("orders:write", NewOrder, NEW_ORDER))],
) -> Response:
    """Accepts the order; a worker prices it and reserves its stock. The order's id is its job's.

    What is ordered of the cart is taken out of it as the order is accepted.
    """
    caller, order = placed.caller, placed.body
    if order.items:
        require_agreeable(caller, order.items)
        job = await submit(caller, order.of_items(), key=placed.key)
    else:
        job = await _check_out(caller, order, placed.key)
    here = f"/v1/orders/{job.job_id}"
    return accepted(job, state="pending", self=here, cancel=f"{here}/cancel", payments=f"{here}/payments")


async def _check_out(caller: Caller, order: NewOrder, key: str) -> Accepted:
    checkout = caller.services.checkout
    request = OrderRequest(caller.account_id, order.address, key, order.body(), caller.request_id)
    if order.quote_id is not None:
        return await checkout.order_quote(request, order.quote_id)
    return await checkout.order_cart(request, version=order.cart.version if order.cart else None)


@routes.get("", response_model=OrderPage, summary="List orders")
async def list_orders(
    caller: Reader, filters: Filters, limit: Limit = 50, cursor: IdCursor = None
) -> Response:
    """The caller's orders, or with `orders:manage` or `ops:read` everybody's; newest first, without payments.

    Over all accounts, without `created_from`, those of the last 31 days.
    """
    owner = _owner(caller)
    query = filters.query(owner, before=cursor, limit=limit + 1)
    rows = [] if filters.foreign(owner) else await caller.services.orders.page(query)
    shown, following = page(rows, limit, lambda order: str(order["id"]))
    return json({"orders": shown, "next_cursor": following})


@routes.get("/{order_id}", response_model=OrderView, responses=problems(404), summary="One order")
async def get_order(order_id: str, request: Request, caller: Reader, wait: Wait) -> Response:
    """The order with its timeline and payments. `wait` is for the end of `pending`."""
    owner = _owner(caller)
    if wait and await find_job(request, caller, order_id, wait=wait) is None and owner is not None:
        raise OrderNotFound(order=order_id)
    return json(await caller.services.orders.get(order_id, owner=owner))


@routes.post(
    "/{order_id}/cancel",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404),
    openapi_extra=KEYED,
    summary="Cancel an order",
)
async def cancel_order(
    order_id: str,
    caller: Canceller,
    key: IdempotencyKey,
    ask: Annotated[CancelAsk, Depends(JsonBody(CancelAsk, required=False))],
) -> Response:
    """Cancels an order that no money came of, and gives its stock back: one's own; staff, anybody's."""
    staff = caller.principal.may("orders:manage")
    await _require_placed(caller, order_id, owner=None if staff else caller.account_id)
    command = CancelOrder(order_id=order_id, reason=ask.reason, by_staff=staff or None)
    job = await submit(caller, command, key=key, subject=order_id)
    return accepted(job, state="queued", order=f"/v1/orders/{order_id}")


@routes.post(
    "/{order_id}/payments",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404),
    openapi_extra=KEYED,
    summary="Pay an order",
)
async def pay_order(order_id: str, charge: Charge) -> Response:
    """Charges a reserved order. The payment's id is its job's."""
    await _require_placed(charge.caller, order_id, owner=charge.caller.account_id)
    command = PayOrder(order_id=order_id, source=charge.body.source)
    job = await submit(charge.caller, command, key=charge.key, subject=order_id)
    return accepted(job, state="queued", order=f"/v1/orders/{order_id}")


def _owner(caller: Caller) -> str | None:
    """Whose orders the caller sees; None for everybody's."""
    return None if caller.principal.may("orders:manage") else caller.owner("ops:read")


async def _require_placed(caller: Caller, order_id: str, *, owner: str | None) -> None:
    """Raises OrderNotFound where nobody, or not this owner, has ordered it."""
    found = await caller.services.signals.look(order_id)
    if found is None or owner not in (None, found[0]) or found[1]["kind"] != PlaceOrder.kind:
        raise OrderNotFound(order=order_id)
