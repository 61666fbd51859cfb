"""Orders: placed, paid and cancelled by jobs; read from the store."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.answers import accepted, json, page, submit
from api.deps import KEYED, Caller, Cursor, IdempotencyKey, Limit, Requires, Wait
from api.errors import invalid_field
from api.openapi import problems
from api.schemas.common import JobAccepted
from api.schemas.orders import PLACE_ORDER, NewPayment, OrderPage, OrderView
from api.submission import Submission, Submits
from api.waiting import find_job
from domain.errors import OrderNotFound
from domain.orders.commands import CancelOrder, PayOrder, PlaceOrder

routes = APIRouter(prefix="/v1/orders", tags=["orders"])

Reader = Annotated[Caller, Depends(Requires("orders:read", "ops:read"))]
Writer = Annotated[Caller, Depends(Requires("orders:write"))]
Charge = Annotated[Submission[NewPayment], Depends(Submits("orders:write", NewPayment))]


@routes.post(
    "",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400),
    openapi_extra=KEYED,
    summary="Place an order",
)
async def place_order(
    placed: Annotated[Submission[PlaceOrder], Depends(Submits("orders:write", PlaceOrder, PLACE_ORDER))],
) -> Response:
    """Accepts the order; a worker prices it and reserves its stock. The order's id is its job's."""
    caller, order = placed.caller, placed.body
    longest = caller.services.settings.orders.max_lines
    if len(order.items) > longest:
        raise invalid_field(
            "body", "items", kind="too_long", message=f"An order has at most {longest} lines."
        )
    if any(item.unit_price is not None or item.percent_off is not None for item in order.items):
        caller.principal.require("orders:price")
    job = await submit(caller, order, key=placed.key)
    here = f"/v1/orders/{job.job_id}"
    return accepted(job, state="pending", self=here, cancel=f"{here}/cancel", payments=f"{here}/payments")


@routes.get("", response_model=OrderPage, summary="List orders")
async def list_orders(caller: Reader, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The caller's orders, or everybody's with `ops:read`; newest first, without holds and payments."""
    rows = await caller.services.orders.page(owner=caller.owner("ops:read"), before=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda order: str(order["id"]))
    return json({"orders": shown, "next_cursor": following})


@routes.get("/{order_id}", response_model=OrderView, responses=problems(404), summary="One order")
async def get_order(order_id: str, request: Request, caller: Reader, wait: Wait) -> Response:
    """The order with its timeline and payments. `wait` is for the end of `pending`."""
    if wait and await find_job(request, caller, order_id, wait=wait) is None:
        raise OrderNotFound(order=order_id)
    return json(await caller.services.orders.get(order_id, owner=caller.owner("ops:read")))


@routes.post(
    "/{order_id}/cancel",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404),
    openapi_extra=KEYED,
    summary="Cancel an order",
)
async def cancel_order(order_id: str, caller: Writer, key: IdempotencyKey) -> Response:
    """Cancels an order that is not paid, and gives its stock back."""
    await _require_own(caller, order_id)
    job = await submit(caller, CancelOrder(order_id=order_id), key=key, subject=order_id)
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
    await _require_own(charge.caller, order_id)
    command = PayOrder(order_id=order_id, source=charge.body.source)
    job = await submit(charge.caller, command, key=charge.key, subject=order_id)
    return accepted(job, state="queued", order=f"/v1/orders/{order_id}")


async def _require_own(caller: Caller, order_id: str) -> None:
    found = await caller.services.signals.look(order_id)
    if found is None or found[0] != caller.account_id or found[1]["kind"] != PlaceOrder.kind:
        raise OrderNotFound(order=order_id)
