"""Jobs of whoever began them, and for ops of everybody: looked at, awaited, cancelled, replayed.

What else ops do with jobs is in `ops_jobs`.
"""

from datetime import timedelta
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Request, Response

from api.answers import json, page
from api.cursors import encode
from api.deps import Caller, IdCursor, Limit, Requires, Wait
from api.filters import Filter
from api.openapi import problems
from api.ops_acts import actor_of
from api.schemas.jobs import JobPage, JobState, JobView
from api.waiting import find_job
from domain.errors import NotFound
from domain.jobs.forms import brief
from domain.jobs.rules import view
from domain.jobs.searching import Wanted
from domain.jobs.service import JobQuery

routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])

#: Whoever can begin jobs; one of somebody else's is shown with `ops:read`.
Reader = Annotated[Caller, Depends(Requires("orders:read", "orders:manage", "catalog:write", "ops:read"))]
Writer = Annotated[Caller, Depends(Requires("orders:write", "catalog:write", "ops:write"))]
Ops = Annotated[Caller, Depends(Requires("ops:write"))]
#: The oldest age that can be asked for.
OLDEST = timedelta(days=3650)
State = Annotated[str | None, Depends(Filter("state").one_of(*get_args(JobState)).build())]
Kind = Annotated[str | None, Depends(Filter("kind").text(longest=100).example("orders.place").build())]
_AGE = Filter("older_than").duration(at_most=OLDEST).described("Such as 30s, 15m, 12h or 7d.").example("15m")
OlderThan = Annotated[timedelta | None, Depends(_AGE.build())]


@routes.get("/{job_id}", response_model=JobView, responses=problems(404), summary="One job")
async def get_job(job_id: str, request: Request, caller: Reader, wait: Wait) -> Response:
    """The job with its history. With `wait`, as soon as it has ended."""
    found = await find_job(request, caller, job_id, wait=wait)
    if found is None:
        raise NotFound(job=job_id)
    if caller.principal.may("ops:read"):
        # The ledger's own form, with what a fault was: the cache has what owners see.
        return await _to_ops(caller, job_id)
    return json(found)


@routes.get("", response_model=JobPage, summary="List jobs")
async def list_jobs(
    caller: Reader,
    *,
    limit: Limit = 50,
    cursor: IdCursor = None,
    state: State = None,
    kind: Kind = None,
    older_than: OlderThan = None,
) -> Response:
    """The caller's own jobs, newest first; with `ops:read` everybody's, as `GET /v1/ops/jobs` finds them."""
    services = caller.services
    until = services.clock() - older_than if older_than is not None else None
    if caller.principal.may("ops:read"):
        wanted = Wanted(state=state, kind=kind, until=until, before=cursor, limit=limit)
        found = await services.job_desk.find(wanted)
        following = encode(found.position) if found.position else None
        return json({"jobs": [brief(job) for job in found.jobs], "next_cursor": following})
    query = JobQuery(
        owner=caller.account_id, state=state, kind=kind, older_than=until, before=cursor, limit=limit + 1
    )
    shown, following = page(await services.jobs.find(query), limit, lambda job: str(job["_id"]))
    jobs = [{**view(job), "owner": job["owner"], "history": None} for job in shown]
    return json({"jobs": jobs, "next_cursor": following})


@routes.post("/{job_id}/cancel", response_model=JobView, responses=problems(404, 409), summary="Cancel a job")
async def cancel_job(job_id: str, caller: Writer) -> Response:
    """Cancels a job of the caller's that no worker has begun, or with `ops:write` anybody's or a dead one.

    A second cancel answers as the first.
    """
    services = caller.services
    if caller.principal.may("ops:write"):
        await services.job_desk.cancel(job_id, actor=actor_of(caller))
        return await _to_ops(caller, job_id)
    job = await services.jobs.cancel(job_id, owner=caller.account_id, by=caller.account_id)
    return json({**view(job), "owner": job["owner"]})


@routes.post("/{job_id}/replay", response_model=JobView, responses=problems(404, 409), summary="Replay a job")
async def replay_job(job_id: str, caller: Ops) -> Response:
    """As `POST /v1/ops/jobs/{job_id}/replay`, without a reason."""
    await caller.services.job_desk.replay(job_id, actor=actor_of(caller))
    return await _to_ops(caller, job_id)


async def _to_ops(caller: Caller, job_id: str) -> Response:
    """Anybody's job, with its history and what a fault was. Raises NotFound."""
    job = await caller.services.jobs.get(job_id, owner=None)
    return json({**view(job, ops=True), "owner": job["owner"]})
