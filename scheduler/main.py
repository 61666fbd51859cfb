"""`python -m scheduler.main`: the timetable's process. Run as many as you like: one leads."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from domain import garbage
from domain.bootstrap import open_services, tracing
from domain.errors import ServiceAway
from domain.observe import configure_logging, logger
from domain.probe import probing
from domain.settings import Settings
from domain.startup import Misconfigured, load_settings
from domain.values import utcnow
from scheduler.leader import Leader
from scheduler.reports import Reports
from scheduler.runs import Runs
from scheduler.schedule import Entry, timetable

log = logger(__name__)

#: What runs seldom runs once soon: a scheduler that is restarted often would never come to it.
SOON = timedelta(minutes=1)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the timetable while this process leads, until `stop` is set. Raises ServiceAway."""
    async with open_services(settings) as services:
        leader = Leader(services.leadership, every=settings.scheduler.leader_ttl / 3)
        runs, entries = Runs(leader, clock=services.clock), timetable(services)
        schedule = schedule_of(entries, runs)
        with probing(settings.scheduler, problems=runs.problems):
            async with leader.standing(), Reports(services, runs, leader, entries).open():
                schedule.start()
                garbage.freeze()
                log.info("scheduler.started")
                await stop.wait()
                # The schedule's own way to stop cancels what runs, and logs each as a fault.
                schedule.pause()
                await runs.finish()
                schedule.shutdown(wait=False)
    log.info("scheduler.stopped")


def schedule_of(entries: Sequence[Entry], runs: Runs) -> AsyncIOScheduler:
    """The entries with their times, not started."""
    schedule = AsyncIOScheduler(timezone="UTC")
    for entry in entries:
        schedule.add_job(
            runs.run,
            "interval",
            args=(entry,),
            seconds=entry.every.total_seconds(),
            id=entry.name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
            next_run_time=utcnow() + min(entry.every, SOON),
        )
    return schedule


async def main() -> int:
    """The process's exit code."""
    try:
        settings = load_settings()
    except Misconfigured as error:
        print(f"scheduler: {error}", file=sys.stderr)  # noqa: T201 - how to log is a setting, too
        return 1
    configure_logging(settings.log)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        with tracing(settings.telemetry, process="scheduler"):
            await run(settings, stop)
    except ServiceAway as error:
        log.error("scheduler.cannot_start", reason=str(error))  # noqa: TRY400 - one line, no trace
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
