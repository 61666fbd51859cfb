"""The audit log; the story of one order; what is stuck, and its repair."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from api.answers import json, page
from api.body import JsonBody
from api.cursors import CursorOf, Uuid
from api.deps import Caller, Limit, Requires
from api.filters import Filter
from api.openapi import problems
from api.ops_acts import actor_of
from api.routes.ops_jobs import OLDEST
from api.schemas.ops_log import AuditLogPage, Repaired, RepairOrder, StuckList, StuckView, Timeline
from domain.audit_log.forms import act_form
from domain.audit_log.models import OUTCOMES
from domain.audit_log.service import AuditQuery
from domain.orders.stuck import AFTER

routes = APIRouter(prefix="/v1/ops", tags=["ops"])

Reader = Annotated[Caller, Depends(Requires("ops:read"))]
Ops = Annotated[Caller, Depends(Requires("ops:write"))]
Position = Annotated[
    tuple[datetime, str] | None, Depends(CursorOf[tuple[datetime, str]](tuple[datetime, Uuid]))
]
_WHO = Filter("actor").text(longest=100).described("An account's id, or `cli:user@host`.")
Actor = Annotated[str | None, Depends(_WHO.build())]
Action = Annotated[str | None, Depends(Filter("action").text(longest=100).example("jobs.replay").build())]
Thing = Annotated[str | None, Depends(Filter("thing").text(longest=100).example("job").build())]
ThingId = Annotated[str | None, Depends(Filter("thing_id").text(longest=200).build())]
Ended = Annotated[str | None, Depends(Filter("outcome").one_of(*OUTCOMES).build())]
_SINCE = Filter("since").moment().described("At this time, or later.").example("2026-11-22T10:00:00Z")
Since = Annotated[datetime | None, Depends(_SINCE.build())]
Until = Annotated[
    datetime | None,
    Depends(Filter("until").moment().described("Before.").example("2026-11-23T00:00:00Z").build()),
]
_AFTER = Filter("after").duration(at_most=OLDEST).described("For longer than this; 5m without.").example("5m")
After = Annotated[timedelta | None, Depends(_AFTER.build())]


@routes.get("/audit-log", response_model=AuditLogPage, summary="What ops did")
async def audit_log(
    caller: Reader,
    *,
    limit: Limit = 50,
    cursor: Position = None,
    actor: Actor = None,
    action: Action = None,
    thing: Thing = None,
    thing_id: ThingId = None,
    outcome: Ended = None,
    since: Since = None,
    until: Until = None,
) -> Response:
    """Every write of ops, over HTTP and on the server, newest first. Nothing edits or deletes an entry."""
    query = AuditQuery(
        actor=actor, action=action, thing=thing, thing_id=thing_id, outcome=outcome, since=since, until=until,
        before=cursor, limit=limit + 1,
    )  # fmt: skip
    rows = await caller.services.audit_log.find(query)
    shown, following = page(rows, limit, _position)
    return json({"entries": [act_form(row) for row in shown], "next_cursor": following})


@routes.get(
    "/orders/{order_id}/timeline",
    response_model=Timeline,
    responses=problems(404),
    summary="An order's story",
)
async def timeline(order_id: str, caller: Reader) -> Response:
    """Across API, queue, worker, payment, hold, events, deliveries and acts of ops, oldest first."""
    return json(await caller.services.order_desk.timeline.of(order_id))


@routes.get("/stuck", summary="What is stuck")
async def list_stuck(caller: Reader, *, after: After = None) -> StuckList:
    """Jobs, holds, orders and events that should have moved by now: why, and what helps."""
    found = await caller.services.order_desk.stuck.find(after=AFTER if after is None else after)
    now = caller.services.clock()
    return StuckList(stuck=[StuckView.model_validate(each.form(now=now)) for each in found])


@routes.post("/stuck/repair", responses=problems(404, 409), summary="Repair what is stuck")
async def repair(caller: Ops, wanted: Annotated[RepairOrder, Depends(JsonBody(RepairOrder))]) -> Repaired:
    """Does at once what should have happened by itself. Sent twice, it does no harm."""
    repairs = caller.services.order_desk.repairs
    done = await repairs.repair(wanted.repair, wanted.id, actor=actor_of(caller), reason=wanted.reason)
    return Repaired.model_validate(done)


def _position(row: dict[str, Any]) -> tuple[datetime, str]:
    return row["at"], row["_id"]
