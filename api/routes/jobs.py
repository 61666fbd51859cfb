"""Jobs: looked at, awaited, cancelled, and replayed by ops."""

from datetime import timedelta
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Request, Response

from api.answers import json, page
from api.deps import Caller, IdCursor, Limit, Requires, Wait
from api.filters import Filter
from api.openapi import problems
from api.schemas.jobs import JobPage, JobState, JobView
from api.waiting import find_job
from domain.errors import NotFound
from domain.jobs.rules import view
from domain.jobs.service import JobQuery

routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])

#: Own jobs for whoever can begin some; everybody's with `ops:read`.
Reader = Annotated[Caller, Depends(Requires("orders:read", "orders:manage", "catalog:write", "ops:read"))]
Writer = Annotated[Caller, Depends(Requires("orders:write", "ops:write"))]
#: The oldest age that can be asked for.
OLDEST = timedelta(days=3650)
State = Annotated[str | None, Depends(Filter("state").one_of(*get_args(JobState)).build())]
Kind = Annotated[str | None, Depends(Filter("kind").text(longest=100).example("orders.place").build())]
_AGE = Filter("older_than").duration(at_most=OLDEST).described("Such as 30s, 15m, 12h or 7d.").example("15m")
OlderThan = Annotated[timedelta | None, Depends(_AGE.build())]
Ops = Annotated[Caller, Depends(Requires("ops:write"))]


@routes.get("/{job_id}", response_model=JobView, responses=problems(404), summary="One job")
async def get_job(job_id: str, request: Request, caller: Reader, wait: Wait) -> Response:
    """The job with its history. With `wait`, as soon as it has ended."""
    found = await find_job(request, caller, job_id, wait=wait)
    if found is None:
        raise NotFound(job=job_id)
    if caller.principal.may("ops:read"):
        # The ledger's own form, with what a fault was: the cache has what owners see.
        return json(_shown(await caller.services.jobs.get(job_id, owner=None), ops=True))
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
    """The caller's jobs, or everybody's with `ops:read`; newest first."""
    services = caller.services
    query = JobQuery(
        owner=caller.owner("ops:read"),
        state=state,
        kind=kind,
        older_than=services.clock() - older_than if older_than else None,
        before=cursor,
        limit=limit + 1,
    )
    shown, following = page(await services.jobs.find(query), limit, lambda job: str(job["_id"]))
    ops = caller.principal.may("ops:read")
    jobs = [{**_shown(job, ops=ops), "history": None} for job in shown]
    return json({"jobs": jobs, "next_cursor": following})


@routes.post("/{job_id}/cancel", response_model=JobView, responses=problems(404, 409), summary="Cancel a job")
async def cancel_job(job_id: str, caller: Writer) -> Response:
    """Cancels a job that no worker has begun. A second cancel answers as the first."""
    owner = caller.owner("ops:write")
    job = await caller.services.jobs.cancel(job_id, owner=owner, by=caller.account_id)
    return json(_shown(job, ops=owner is None))


@routes.post("/{job_id}/replay", response_model=JobView, responses=problems(404, 409), summary="Replay a job")
async def replay_job(job_id: str, caller: Ops) -> Response:
    """Runs a dead, failed or cancelled job again, under its own id: it stays one job with one effect."""
    return json(_shown(await caller.services.jobs.replay(job_id, by=caller.account_id), ops=True))


def _shown(job: dict[str, Any], *, ops: bool) -> dict[str, Any]:
    return {**view(job, ops=ops), "owner": job["owner"]}
