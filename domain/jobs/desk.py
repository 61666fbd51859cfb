"""What ops do with jobs: look, replay, cancel, send ahead; also many at once. The audit log has all of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.changes import Database, Doc
from domain.events.service import Events
from domain.jobs.bulk import BulkRuns
from domain.jobs.bulk_work import BulkWork
from domain.jobs.dead import DeadJobs
from domain.jobs.details import detail, events_of
from domain.jobs.dispatch import Dispatcher
from domain.jobs.expediting import Expediting
from domain.jobs.running import JobRuns
from domain.jobs.searching import Found, JobSearch, Wanted
from domain.jobs.service import Jobs
from domain.jobs.told import told
from domain.settings import Jobs as JobSettings
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class JobDesk:
    """The verbs of ops, over everybody's jobs."""

    jobs: Jobs
    search: JobSearch
    expediting: Expediting
    dead: DeadJobs
    bulk: BulkRuns
    bulk_work: BulkWork
    events: Events
    audit_log: AuditLog
    clock: Clock

    async def find(self, wanted: Wanted) -> Found:
        """As `JobSearch.find`."""
        return await self.search.find(wanted)

    async def show(self, job_id: str) -> dict[str, Any]:
        """The whole story of one job, secrets masked; JSON. Raises NotFound."""
        now, job = self.clock(), await self.jobs.get(job_id, owner=None)
        about = events_of(job, now=now)
        found: list[Doc] = []
        if about is not None:
            whose, subjects, since, until = about
            found = await told(self.events, whose, subjects, since=since, until=until, job_id=job_id)
        return detail(job, found, now=now)

    async def replay(self, job_id: str, *, actor: Actor, reason: str | None = None) -> dict[str, Any]:
        """As `Jobs.replay`; answers the job as `show` does."""
        return await self._act(
            "jobs.replay", job_id, actor, reason,
            lambda: self.jobs.replay(job_id, by=actor.id, reason=reason),
        )  # fmt: skip

    async def cancel(self, job_id: str, *, actor: Actor, reason: str | None = None) -> dict[str, Any]:
        """As `Jobs.cancel` for ops; answers the job as `show` does."""
        return await self._act(
            "jobs.cancel", job_id, actor, reason,
            lambda: self.jobs.cancel(job_id, owner=None, by=actor.id, reason=reason),
        )  # fmt: skip

    async def expedite(self, job_id: str, *, actor: Actor, reason: str | None = None) -> dict[str, Any]:
        """As `Expediting.expedite`; answers the job as `show` does."""
        return await self._act(
            "jobs.expedite", job_id, actor, reason,
            lambda: self.expediting.expedite(job_id, by=actor.id, reason=reason),
        )  # fmt: skip

    async def _act(
        self, action: str, job_id: str, actor: Actor, reason: str | None, verb: Callable[[], Awaitable[Doc]]
    ) -> dict[str, Any]:
        before = _facts(await self.jobs.get(job_id, owner=None))
        entry = Entry(actor, action, "job", job_id, reason=reason, before=before)
        async with self.audit_log.acting(entry) as act:
            job = await verb()
            act.after = _facts(job)
        return detail(job, now=self.clock())


def job_desk(
    *,
    database: Database,
    jobs: Jobs,
    runs: JobRuns,
    dispatcher: Dispatcher,
    events: Events,
    audit_log: AuditLog,
    settings: JobSettings,
    clock: Clock,
) -> JobDesk:
    """The verbs over the ledger."""
    dead = DeadJobs(database=database)
    return JobDesk(
        jobs=jobs,
        search=JobSearch(database=database, clock=clock),
        expediting=Expediting(database=database, dispatcher=dispatcher, settings=settings, clock=clock),
        dead=dead,
        bulk=BulkRuns(database=database, jobs=jobs, dead=dead, audit_log=audit_log, clock=clock),
        bulk_work=BulkWork(
            database=database, replaying=jobs.replaying, cancelling=jobs.cancelling, runs=runs,
            audit_log=audit_log, clock=clock,
        ),
        events=events,
        audit_log=audit_log,
        clock=clock,
    )  # fmt: skip


def _facts(job: Doc) -> dict[str, Any]:
    """What the audit log keeps of a job."""
    error = job.get("error") or {}
    return {
        "kind": job["kind"], "state": job["state"], "attempts": job["attempts"], "owner": job["owner"],
        "code": error.get("code"),
    }  # fmt: skip
