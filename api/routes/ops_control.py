"""Control of the platform, for ops: processes, queues, the timetable."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import json
from api.body import JsonBody
from api.deps import Caller, Requires
from api.errors import invalid_field
from api.openapi import problems
from api.ops_acts import Reasoned, actor_of
from api.schemas.ops_control import (
    ProcessList,
    ProcessView,
    Purge,
    PurgedView,
    QueueList,
    QueueView,
    RunView,
    Schedule,
    StatusView,
)
from domain.control.forms import entry_form, health_form, process_form, queue_form, run_form
from domain.control.rules import RUNNING

routes = APIRouter(prefix="/v1/ops", tags=["ops"])

#: Seconds that an asked run is waited for.
PATIENCE = 10.0
Reader = Annotated[Caller, Depends(Requires("ops:read"))]
Ops = Annotated[Caller, Depends(Requires("ops:write"))]
Said = Annotated[Reasoned, Depends(JsonBody(Reasoned, required=False))]


@routes.get("/status", summary="Is all well")
async def status(caller: Reader) -> StatusView:
    """Services, queues, processes and the timetable, and what needs attention, in words."""
    return StatusView.model_validate(health_form(await caller.services.control.status.look()))


@routes.get("/workers", summary="List processes")
async def list_processes(caller: Reader) -> ProcessList:
    """Workers, APIs and schedulers, as each told of itself last: every 5 s."""
    found = await caller.services.control.processes.find()
    return ProcessList.model_validate({"processes": [process_form(each) for each in found]})


@routes.post("/workers/{process_id}/drain", responses=problems(404, 409), summary="Drain a worker")
async def drain_worker(process_id: str, caller: Ops, said: Said) -> ProcessView:
    """It finishes the jobs in hand, takes no more, and stays so until it is undrained. Idempotent."""
    processes = caller.services.control.processes
    seen = await processes.drain(process_id, by=actor_of(caller), reason=said.reason)
    return ProcessView.model_validate(process_form(seen))


@routes.post("/workers/{process_id}/undrain", responses=problems(404), summary="Undrain a worker")
async def undrain_worker(process_id: str, caller: Ops, said: Said) -> ProcessView:
    """It takes jobs again. Idempotent."""
    processes = caller.services.control.processes
    seen = await processes.undrain(process_id, by=actor_of(caller), reason=said.reason)
    return ProcessView.model_validate(process_form(seen))


@routes.get("/queues", summary="List queues")
async def list_queues(caller: Reader) -> QueueList:
    """Every pool's queue: what waits, who works, and who paused it."""
    found = await caller.services.control.queues.find()
    return QueueList.model_validate({"queues": [queue_form(each) for each in found]})


@routes.post("/queues/{pool}/pause", responses=problems(404), summary="Pause a queue")
async def pause_queue(pool: str, caller: Ops, said: Said) -> QueueView:
    """No worker takes a job of the pool. Jobs are accepted as before, and wait. Idempotent."""
    queues = caller.services.control.queues
    queue = await queues.pause(pool, by=actor_of(caller), reason=said.reason)
    return QueueView.model_validate(queue_form(queue))


@routes.post("/queues/{pool}/resume", responses=problems(404), summary="Resume a queue")
async def resume_queue(pool: str, caller: Ops, said: Said) -> QueueView:
    """Workers take the pool's jobs again. Idempotent."""
    queues = caller.services.control.queues
    queue = await queues.resume(pool, by=actor_of(caller), reason=said.reason)
    return QueueView.model_validate(queue_form(queue))


@routes.post("/queues/{pool}/purge", responses=problems(404), summary="Purge a queue")
async def purge_queue(
    pool: str, caller: Ops, wanted: Annotated[Purge, Depends(JsonBody(Purge))]
) -> PurgedView:
    """Cancels up to 1,000 of the jobs that wait and were never begun. Repeat it while there is `more`."""
    purging = caller.services.control.purging
    if wanted.dry_run:
        return PurgedView.of(await purging.look(pool, kind=wanted.kind), dry_run=True)
    if wanted.confirm != pool:
        message = "Repeat the pool's name here: its jobs will be cancelled."
        raise invalid_field("body", "confirm", kind="not_confirmed", message=message)
    done = await purging.purge(pool, by=actor_of(caller), kind=wanted.kind, reason=wanted.reason)
    return PurgedView.of(done, dry_run=False)


@routes.get("/schedule", summary="The timetable")
async def schedule(caller: Reader) -> Schedule:
    """Each entry with its last and next run."""
    timetables = caller.services.control.timetables
    leader = await timetables.leader()
    entries = [entry_form(each) for each in await timetables.find()]
    return Schedule.model_validate({"leader": leader["_id"] if leader else None, "entries": entries})


@routes.post(
    "/schedule/{name}/run",
    response_model=RunView,
    responses={**problems(404), 202: {"model": RunView}},
    summary="Run an entry now",
)
async def run_entry(name: str, caller: Ops, said: Said) -> Response:
    """The leader runs it, and this answers how that went; 202 where it takes longer than 10 s.

    Harmless to repeat: every entry may run at any time.
    """
    timetables = caller.services.control.timetables
    run = await timetables.run(name, by=actor_of(caller), seconds=PATIENCE, reason=said.reason)
    return json(run_form(run), 202 if run["state"] == RUNNING else 200)
