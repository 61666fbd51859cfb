"""Replaying or discarding many dead jobs: asked for, looked at, stopped."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import Conflict, NotFound, TryAgain
from domain.jobs.bulk_models import BULK_RUNS, REPLAY, STOPPED, WAITING, WORKING, BulkAction, RunBulk
from domain.jobs.dead import DeadJobs, Refusal, Selection, refusals
from domain.jobs.models import JOBS, Accepted
from domain.jobs.rules import CANCELLED, DEAD
from domain.jobs.service import Jobs
from domain.values import Clock, new_id

#: Jobs that a preview shows.
SAMPLES = 5
#: Jobs a second.
SLOWEST, FASTEST = 0.1, 200.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bulk run is to do, and why."""

    action: BulkAction
    selection: Selection
    rate: float = 20.0
    reason: str | None = None

    def form(self) -> dict[str, Any]:
        """What a repetition of the key has to repeat."""
        chosen = {
            name: value if isinstance(value, int) else str(value)
            for name, value in self.selection.form().items()
        }
        named = {"job_ids": list(self.selection.job_ids)} if self.selection.job_ids is not None else {}
        return {"action": self.action, "rate": self.rate, **chosen, **named}


@dataclass(frozen=True, slots=True)
class Preview:
    """What a bulk run would do now."""

    #: The jobs that it would take, in this order.
    jobs: list[Doc]
    refused: list[Refusal]
    #: There are dead jobs that were not looked at: begin another run after this one.
    more: bool
    #: How long it would take at the plan's rate.
    seconds: float

    def by_kind(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(sorted(Counter(str(job["kind"]) for job in self.jobs).items()))


class BulkRuns:
    """Bulk runs as ops see them; `BulkWork` does them."""

    def __init__(
        self, *, database: Database, jobs: Jobs, dead: DeadJobs, audit_log: AuditLog, clock: Clock
    ) -> None:
        self._database = database
        self._rows = database[BULK_RUNS]
        self._jobs = jobs
        self._dead = dead
        self._audit_log = audit_log
        self._clock = clock

    async def preview(self, plan: Plan) -> Preview:
        """What `start` would do now. Changes nothing."""
        looked = await self._dead.select(plan.selection)
        refused = refusals(plan.selection, looked.jobs, replay=plan.action == REPLAY)
        left_out = {each.job_id for each in refused}
        # Those that died first are done first.
        taken = sorted(
            (job for job in looked.jobs if job["_id"] not in left_out),
            key=lambda job: (job["finished_at"], job["_id"]),
        )
        return Preview(taken, refused, looked.more, seconds=round(len(taken) / plan.rate, 1))

    async def start(self, plan: Plan, *, actor: Actor, key: str) -> Accepted:
        """Begins a run over what `preview` shows now, as a job. One (actor, key) is one run.

        Raises IdempotencyKeyReused, and Conflict where there is nothing to do.
        """
        request = plan.form()
        before = await self._jobs.accepted(RunBulk, owner=actor.id, key=key, request=request)
        if before is not None:
            return before
        preview = await self.preview(plan)
        if not preview.jobs:
            raise Conflict(reason="no dead job is to be taken", refused=len(preview.refused))
        run_id, changes = new_id(), Changes()
        changes.insert(BULK_RUNS, [self._row(run_id, plan, preview, actor)], guard=True)
        about = {**plan.form(), "jobs": len(preview.jobs)}
        about.pop("job_ids", None)
        action = f"jobs.bulk_{plan.action}"
        self._audit_log.ride(changes, Entry(actor, action, "bulk", run_id, reason=plan.reason, after=about))
        try:
            return await self._jobs.submit_with(
                changes, RunBulk(), owner=actor.id, key=key, request=request, request_id=actor.request_id,
                job_id=run_id,
            )  # fmt: skip
        except GuardFailed:
            begun = await self._jobs.accepted(RunBulk, owner=actor.id, key=key, request=request)
            if begun is None:
                raise TryAgain("the run was not accepted") from None
            return begun

    def _row(self, run_id: str, plan: Plan, preview: Preview, actor: Actor) -> Doc:
        now = self._clock()
        ids = [job["_id"] for job in preview.jobs]
        return {
            "_id": run_id, "action": plan.action, "selection": plan.selection.form(), "job_ids": ids,
            "size": len(ids), "rate": plan.rate, "died_by": now, "actor": actor.id, "via": actor.via,
            "request_id": actor.request_id, "reason": plan.reason, "state": WAITING, "taken": 0, "done": 0,
            "refused": 0, "refusals": [], "stop_by": None, "created_at": now, "ended_at": None,
        }  # fmt: skip

    async def get(self, run_id: str) -> Doc:
        """The run. Raises NotFound."""
        row: Doc | None = await self._rows.find_one({"_id": run_id}, {"job_ids": 0})
        if row is None:
            raise NotFound(bulk=run_id)
        return (await self._as_they_are([row]))[0]

    async def find(self, *, limit: int = 50) -> list[Doc]:
        """The last runs, newest first."""
        rows = self._rows.find({}, {"job_ids": 0}).sort("created_at", -1).limit(limit)
        return await self._as_they_are(await rows.to_list())

    async def _as_they_are(self, rows: list[Doc]) -> list[Doc]:
        """A run whose job was cancelled, or is dead, has stopped by that, until its job is replayed."""
        going_on = {row["_id"]: row for row in rows if row["state"] in (WAITING, WORKING)}
        if going_on:
            query = {"_id": {"$in": sorted(going_on)}, "state": {"$in": [CANCELLED, DEAD]}}
            async for job in self._database[JOBS].find(query, {"finished_at": 1}):
                going_on[job["_id"]] |= {"state": STOPPED, "ended_at": job["finished_at"]}
        return rows

    async def stop(self, run_id: str, *, actor: Actor, reason: str | None = None) -> Doc:
        """Has a run take no more jobs. What it has done stays done. Idempotent while it has not ended.

        Raises NotFound, and Conflict where it has ended by itself.
        """
        entry = Entry(actor, "jobs.bulk_stop", "bulk", run_id, reason=reason)
        async with self._audit_log.acting(entry) as act:
            query = {"_id": run_id, "state": {"$in": [WAITING, WORKING]}}
            await self._rows.update_one(query, {"$set": {"stop_by": actor.id}})
            row = await self.get(run_id)
            if row["state"] not in (WAITING, WORKING, STOPPED):
                raise Conflict(bulk=run_id, state=row["state"])
            act.after = {"taken": row["taken"], "of": row["size"]}
        return row
