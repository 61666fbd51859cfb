"""Everybody's jobs, for ops: found, looked at, replayed, cancelled, sent ahead."""

from datetime import datetime, timedelta
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Response

from api.answers import json
from api.body import JsonBody
from api.cursors import encode
from api.deps import Caller, IdCursor, Limit, Requires
from api.filters import Filter
from api.openapi import problems
from api.ops_acts import Reasoned, actor_of
from api.schemas.jobs import JobState
from api.schemas.ops_jobs import FoundJobs, JobDetail
from domain.jobs.forms import found_form
from domain.jobs.searching import Wanted
from domain.orders.commands import PlaceOrder
from domain.values import Id

routes = APIRouter(prefix="/v1/ops/jobs", tags=["ops"])

#: The oldest age that can be asked for.
OLDEST = timedelta(days=3650)
Reader = Annotated[Caller, Depends(Requires("ops:read"))]
Ops = Annotated[Caller, Depends(Requires("ops:write"))]
Said = Annotated[Reasoned, Depends(JsonBody(Reasoned, required=False))]

State = Annotated[str | None, Depends(Filter("state").one_of(*get_args(JobState)).build())]
Kind = Annotated[str | None, Depends(Filter("kind").text(longest=100).example("orders.place").build())]
Pool = Annotated[str | None, Depends(Filter("pool").text(longest=100).example("orders").build())]
_ACCOUNT = Filter("owner").text(longest=100).described("An account's id, or `system`.")
Owner = Annotated[str | None, Depends(_ACCOUNT.build())]
_JOB = Filter("id").matching(Id).described("The one job of this id.")
JobId = Annotated[str | None, Depends(_JOB.build())]
_SUBJECT = (
    Filter("subject").text(longest=100).described("What it is about: an order's id finds all its jobs.")
)
Subject = Annotated[str | None, Depends(_SUBJECT.build())]
Code = Annotated[str | None, Depends(Filter("code").text(longest=100).example("out_of_stock").build())]
_TEXT = Filter("text").text().described("In the error's code, message or fault.")
ErrorText = Annotated[str | None, Depends(_TEXT.build())]
_SINCE = (
    Filter("since").moment().described("Accepted at this time, or later.").example("2026-11-22T10:00:00Z")
)
Since = Annotated[datetime | None, Depends(_SINCE.build())]
_UNTIL = Filter("until").moment().described("Accepted before.").example("2026-11-22T11:00:00Z")
Until = Annotated[datetime | None, Depends(_UNTIL.build())]
_AGE = Filter("older_than").duration(at_most=OLDEST).described("Such as 30s, 15m, 12h or 7d.").example("15m")
OlderThan = Annotated[timedelta | None, Depends(_AGE.build())]


@routes.get("", response_model=FoundJobs, summary="Find jobs")
async def find_jobs(
    caller: Reader,
    *,
    limit: Limit = 50,
    cursor: IdCursor = None,
    job_id: JobId = None,
    state: State = None,
    kind: Kind = None,
    pool: Pool = None,
    owner: Owner = None,
    subject: Subject = None,
    code: Code = None,
    text: ErrorText = None,
    since: Since = None,
    until: Until = None,
    older_than: OlderThan = None,
) -> Response:
    """Everybody's jobs, newest first. Without an id, subject, owner or open state: of the last 24 h."""
    ends = [until] if until else []
    ends += [caller.services.clock() - older_than] if older_than is not None else []
    wanted = Wanted(
        job_id=job_id, kind=kind, state=state, pool=pool, owner=owner, subject=subject, code=code, text=text,
        since=since, until=min(ends, default=None), before=cursor, limit=limit,
    )  # fmt: skip
    found = await caller.services.job_desk.find(wanted)
    return json({**found_form(found), "next_cursor": encode(found.position) if found.position else None})


@routes.get("/{job_id}", response_model=JobDetail, responses=problems(404), summary="One job's whole story")
async def show_job(job_id: str, caller: Reader) -> Response:
    """Payload with its secrets masked, runs with errors and traces, timings, what was told, links."""
    return json(linked(await caller.services.job_desk.show(job_id)))


@routes.post(
    "/{job_id}/replay", response_model=JobDetail, responses=problems(404, 409), summary="Replay a job"
)
async def replay_job(job_id: str, caller: Ops, said: Said) -> Response:
    """Runs a dead, failed or cancelled job again, under its own id: it stays one job with one effect."""
    desk = caller.services.job_desk
    return json(linked(await desk.replay(job_id, actor=actor_of(caller), reason=said.reason)))


@routes.post(
    "/{job_id}/cancel", response_model=JobDetail, responses=problems(404, 409), summary="Cancel anybody's job"
)
async def cancel_job(job_id: str, caller: Ops, said: Said) -> Response:
    """Cancels a job that no worker has begun, or a dead one. A second cancel answers as the first."""
    desk = caller.services.job_desk
    return json(linked(await desk.cancel(job_id, actor=actor_of(caller), reason=said.reason)))


@routes.post(
    "/{job_id}/expedite", response_model=JobDetail, responses=problems(404, 409), summary="Send a job ahead"
)
async def expedite_job(job_id: str, caller: Ops, said: Said) -> Response:
    """Has a queued job run before the others of its pool. Sent twice, it runs once."""
    desk = caller.services.job_desk
    return json(linked(await desk.expedite(job_id, actor=actor_of(caller), reason=said.reason)))


def linked(job: dict[str, Any]) -> dict[str, Any]:
    """With links to itself, and to the order that it is about."""
    links = {"self": f"/v1/ops/jobs/{job['id']}"}
    order_id = job["subject"] if job["kind"].startswith(("orders.", "payments.")) else None
    # Holds that expire are of many orders.
    if order_id and (order_id != job["id"] or job["kind"] == PlaceOrder.kind):
        links |= {"order": f"/v1/orders/{order_id}", "timeline": f"/v1/ops/orders/{order_id}/timeline"}
    return {**job, "links": links}
