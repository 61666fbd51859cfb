"""Reservations: stock held before there is an order."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.answers import accepted, json, submit
from api.deps import KEYED, Caller, Requires, Wait
from api.errors import invalid_field
from api.openapi import problems
from api.schemas.common import JobAccepted
from api.schemas.reservations import RESERVE, ReservationView
from api.submission import Submission, Submits
from api.waiting import find_job
from domain.errors import HoldNotFound
from domain.inventory.commands import Release, Reserve

routes = APIRouter(prefix="/v1/reservations", tags=["reservations"])

Reader = Annotated[Caller, Depends(Requires("orders:read", "ops:read"))]
Writer = Annotated[Caller, Depends(Requires("orders:write"))]


@routes.post(
    "",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400),
    openapi_extra=KEYED,
    summary="Reserve stock",
)
async def reserve(
    wanted: Annotated[Submission[Reserve], Depends(Submits("orders:write", Reserve, RESERVE))],
) -> Response:
    """Accepts the reservation; a worker takes the stock. The reservation's id is its job's."""
    caller, reservation = wanted.caller, wanted.body
    longest = caller.services.settings.orders.max_lines
    if len(reservation.items) > longest:
        raise invalid_field("body", "items", kind="too_long", message=f"There are at most {longest} lines.")
    job = await submit(caller, reservation, key=wanted.key)
    return accepted(job, state="pending", self=f"/v1/reservations/{job.job_id}")


@routes.get(
    "/{reservation_id}", response_model=ReservationView, responses=problems(404), summary="One reservation"
)
async def get_reservation(reservation_id: str, request: Request, caller: Reader, wait: Wait) -> Response:
    """The reservation. `wait` is for the end of `pending`."""
    if wait and await find_job(request, caller, reservation_id, wait=wait) is None:
        raise HoldNotFound(reservation=reservation_id)
    hold = await caller.services.reservations.get(reservation_id, owner=caller.owner("ops:read"))
    return json(ReservationView.of(hold))


@routes.delete(
    "/{reservation_id}",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(404),
    summary="Release a reservation",
)
async def release(reservation_id: str, caller: Writer) -> Response:
    """Gives the stock back. Once released, it changes nothing."""
    await caller.services.reservations.get(reservation_id, owner=caller.account_id)
    command = Release(reservation_id=reservation_id)
    job = await submit(caller, command, key=reservation_id, subject=reservation_id)
    return accepted(job, state="queued", reservation=f"/v1/reservations/{reservation_id}")
