"""All verbs of the control, wired."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from domain.audit_log.service import AuditLog
from domain.changes import Database
from domain.control.asking import Ping
from domain.control.attendance import Attendance, Wanted, identity
from domain.control.processes import Facts, Processes
from domain.control.purging import Purging
from domain.control.queues import Queues
from domain.control.retiring import Retiring
from domain.control.status import Status
from domain.control.timetable import Timetables
from domain.jobs.service import Jobs
from domain.ports import JobQueue, PubSub
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class Control:
    """Processes, queues, the timetable, and what needs attention."""

    processes: Processes
    queues: Queues
    purging: Purging
    retiring: Retiring
    timetables: Timetables
    status: Status
    pubsub: PubSub
    clock: Clock

    def attendance(
        self,
        role: str,
        facts: Callable[[], Facts],
        *,
        pools: tuple[str, ...] = (),
        threads: int = 0,
        obey: Callable[[Wanted], None] = lambda _wanted: None,
    ) -> Attendance:
        """What a process does for its own part; see `Attendance.attending`."""
        return Attendance(
            processes=self.processes,
            queues=self.queues,
            pubsub=self.pubsub,
            who=identity(role, clock=self.clock, pools=pools, threads=threads),
            facts=facts,
            obey=obey,
        )


def control(
    *,
    database: Database,
    queue: JobQueue,
    pubsub: PubSub,
    jobs: Jobs,
    audit_log: AuditLog,
    pings: Mapping[str, Ping],
    heartbeat: timedelta,
    clock: Clock,
) -> Control:
    """The verbs over the given ports."""
    processes = Processes(database=database, pubsub=pubsub, audit_log=audit_log, every=heartbeat, clock=clock)
    queues = Queues(
        database=database, queue=queue, jobs=jobs, processes=processes, pubsub=pubsub,
        audit_log=audit_log, clock=clock,
    )  # fmt: skip
    timetables = Timetables(
        database=database, pubsub=pubsub, processes=processes, audit_log=audit_log, clock=clock
    )
    return Control(
        processes=processes,
        queues=queues,
        purging=Purging(database=database, queue=queue, jobs=jobs, audit_log=audit_log, clock=clock),
        retiring=Retiring(queue=queue, audit_log=audit_log),
        timetables=timetables,
        status=Status(pings=pings, queues=queues, processes=processes, timetables=timetables, clock=clock),
        pubsub=pubsub,
        clock=clock,
    )
