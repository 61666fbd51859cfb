"""What staff do with orders that are paid: refund, fulfil, complete."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import REPLAYED, accepted, json, submit
from api.deps import KEYED, Caller, Requires
from api.openapi import problems
from api.schemas.common import JobAccepted
from api.schemas.order_life import Fulfilled, NewFulfilment, NewRefund
from api.schemas.orders import OrderView
from api.submission import Submission, Submits
from domain.orders.commands import RefundOrder
from domain.orders.fulfilment import Parcel

routes = APIRouter(prefix="/v1/orders", tags=["orders"])

Staff = Annotated[Caller, Depends(Requires("orders:manage"))]
Refund = Annotated[Submission[NewRefund], Depends(Submits("orders:manage", NewRefund))]
Sent = Annotated[Submission[NewFulfilment], Depends(Submits("orders:manage", NewFulfilment))]


@routes.post(
    "/{order_id}/refunds",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404),
    openapi_extra=KEYED,
    summary="Refund an order",
)
async def refund_order(order_id: str, refund: Refund) -> Response:
    """Pays the order back, whole or by line. The refund's id is its job's."""
    caller, body = refund.caller, refund.body
    await caller.services.orders.get(order_id, owner=None)
    command = RefundOrder(order_id=order_id, lines=body.lines, restock=body.restock, reason=body.reason)
    job = await submit(caller, command, key=refund.key, subject=order_id)
    return accepted(job, state="queued", order=f"/v1/orders/{order_id}")


@routes.post(
    "/{order_id}/fulfilments",
    status_code=201,
    response_model=Fulfilled,
    responses=problems(400, 404, 409),
    openapi_extra=KEYED,
    summary="Send an order",
)
async def fulfil_order(order_id: str, sent: Sent) -> Response:
    """Records what is sent, whole or by line; the last unit makes the order `fulfilled`."""
    caller, body = sent.caller, sent.body
    units = None if body.lines is None else {line.sku: line.quantity for line in body.lines}
    parcel = Parcel(units, body.tracking_number, body.carrier, actor=caller.account_id, key=sent.key)
    made, replayed = await caller.services.fulfilment.fulfil(order_id, parcel)
    return json(made, 201, REPLAYED if replayed else None)


@routes.post(
    "/{order_id}/complete",
    response_model=OrderView,
    responses=problems(404, 409),
    summary="Complete an order",
)
async def complete_order(order_id: str, caller: Staff) -> Response:
    """Completes a fulfilled order at once. Completed before, it changes nothing."""
    await caller.services.fulfilment.complete(order_id, actor=caller.account_id, reason="by staff")
    return json(await caller.services.orders.get(order_id, owner=None))
