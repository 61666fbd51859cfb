"""Dead jobs by what they died of, and what is done with many of them at once."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import accepted, json
from api.body import JsonBody
from api.deps import KEYED, Caller, IdempotencyKey, Requires
from api.openapi import problems
from api.ops_acts import Reasoned, actor_of
from api.routes.ops_jobs import Code, Kind
from api.schemas.common import JobAccepted
from api.schemas.ops_jobs import BulkList, BulkOrder, BulkPreview, BulkView, DeadGroups
from domain.jobs.dead import Selection
from domain.jobs.forms import bulk_form, groups_form, preview_form

routes = APIRouter(prefix="/v1/ops", tags=["ops"])

Reader = Annotated[Caller, Depends(Requires("ops:read"))]
Ops = Annotated[Caller, Depends(Requires("ops:write"))]
Said = Annotated[Reasoned, Depends(JsonBody(Reasoned, required=False))]
Ordered = Annotated[BulkOrder, Depends(JsonBody(BulkOrder))]


@routes.get("/dead", response_model=DeadGroups, summary="Dead jobs, grouped")
async def list_dead(caller: Reader, *, kind: Kind = None, code: Code = None) -> Response:
    """By kind and error, the largest group first. Looks at the last 5,000 dead jobs that were accepted."""
    groups, more = await caller.services.job_desk.dead.groups(Selection(kind=kind, code=code))
    return json(groups_form(groups, more=more))


@routes.post("/dead/preview", response_model=BulkPreview, summary="Try a bulk run")
async def preview_bulk(caller: Reader, ordered: Ordered) -> Response:
    """What the run would do now: which jobs it would take, and which it would not. Changes nothing."""
    preview = await caller.services.job_desk.bulk.preview(ordered.plan())
    return json(preview_form(ordered.action, preview))


@routes.post(
    "/dead/bulk",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(409),
    openapi_extra=KEYED,
    summary="Replay or discard many",
)
async def start_bulk(caller: Ops, key: IdempotencyKey, ordered: Ordered) -> Response:
    """Begins a job that takes the jobs of the preview one after another, at the rate. Each has one effect."""
    bulk = caller.services.job_desk.bulk
    job = await bulk.start(ordered.plan(), actor=actor_of(caller), key=key)
    return accepted(job, state="queued", bulk=f"/v1/ops/bulk/{job.job_id}")


@routes.get("/bulk", response_model=BulkList, summary="List bulk runs")
async def list_bulk(caller: Reader) -> Response:
    """The last 50, newest first."""
    return json({"runs": [bulk_form(row) for row in await caller.services.job_desk.bulk.find()]})


@routes.get("/bulk/{bulk_id}", response_model=BulkView, responses=problems(404), summary="One bulk run")
async def get_bulk(bulk_id: str, caller: Reader) -> Response:
    """How far it is."""
    return json(bulk_form(await caller.services.job_desk.bulk.get(bulk_id)))


@routes.post(
    "/bulk/{bulk_id}/stop", response_model=BulkView, responses=problems(404, 409), summary="Stop a bulk run"
)
async def stop_bulk(bulk_id: str, caller: Ops, said: Said) -> Response:
    """It takes no more jobs, within a second or two; what it has done stays done. Idempotent."""
    bulk = caller.services.job_desk.bulk
    return json(bulk_form(await bulk.stop(bulk_id, actor=actor_of(caller), reason=said.reason)))
