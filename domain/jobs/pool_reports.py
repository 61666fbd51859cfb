"""What is said of a pool, in figures and in words. Pure."""

from dataclasses import dataclass
from datetime import timedelta

from domain.jobs.pool_rules import (
    Flow,
    believed,
    drain_seconds,
    quantile,
    worker_rate,
    workers_for,
)

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a pool, and who works for it, at one moment. None where nobody could be asked."""

    #: Messages in RabbitMQ that no worker holds.
    ready: int | None
    #: Jobs in the ledger that are due, and that nobody has sent: kept back for fairness, or not confirmed.
    in_ledger: int | None
    #: Seconds that the oldest queued job has waited.
    oldest: float | None
    workers: int | None
    #: Jobs that workers have in hand.
    in_flight: int = 0
    #: Whether somebody has told its workers to take nothing.
    paused: bool = False

    @property
    def depth(self) -> int:
        """All that is known to wait."""
        return (self.ready or 0) + (self.in_ledger or 0)


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool at one moment. Rates are per second, times in seconds; None is what nobody can tell."""

    pool: str
    depth: int
    ready: int | None
    in_ledger: int | None
    in_flight: int
    oldest: float | None
    workers: int
    threads: int
    paused: bool
    #: Over the last minute, and over the last five.
    arrivals: float
    arrivals_5m: float
    completions: float
    completions_5m: float
    failures_per_minute: float
    refusals_per_minute: float
    mean_run: float | None
    p95_run: float | None
    mean_batch: float | None
    busy: float | None
    #: Jobs a second that one worker does when it never has to wait.
    worker_rate: float | None
    target: float
    #: None where it never drains, or nobody can tell.
    drain: float | None
    recommended: int
    #: Whether somebody should look.
    attention: bool
    words: str


@dataclass(frozen=True, slots=True)
class Windows:
    """What was counted: in the last minute, up to now; and in the minute, the five and the hour before.

    The first lacks what processes have yet to write down. It tells what a worker does, not how much comes.
    """

    recent: Flow
    minute: Flow
    five: Flow
    hour: Flow


def report(
    pool: str, backlog: Backlog, windows: Windows, *, target: timedelta, largest_batch: int
) -> PoolReport:
    """Everything that is said of the pool."""
    minute, five = windows.minute, windows.five
    seen = believed((windows.recent, five, windows.hour))
    rate = worker_rate(seen, largest_batch=largest_batch)
    arrivals = minute.per_second(minute.arrived)
    runs = minute if minute.runs else five
    workers = backlog.workers if backlog.workers is not None else _present(minute)
    draws = 0 if backlog.paused else workers
    drain = None
    if not backlog.depth:
        drain = 0.0
    elif rate is not None:
        drain = drain_seconds(depth=backlog.depth, arrivals=arrivals, rate=draws * rate)
    recommended = _recommended(backlog, arrivals=arrivals, rate=rate, workers=workers, target=target)
    late = _late(backlog, drain, target)
    figures = _Figures(pool, backlog, workers, arrivals, rate, drain, recommended, target)
    return PoolReport(
        pool=pool,
        depth=backlog.depth,
        ready=backlog.ready,
        in_ledger=backlog.in_ledger,
        in_flight=backlog.in_flight,
        oldest=backlog.oldest,
        workers=workers,
        threads=round(workers * _threads_each(windows)),
        paused=backlog.paused,
        arrivals=arrivals,
        arrivals_5m=five.per_second(five.arrived),
        completions=minute.per_second(minute.done),
        completions_5m=five.per_second(five.done),
        failures_per_minute=minute.per_second(minute.faults) * _MINUTE,
        refusals_per_minute=minute.per_second(minute.refused) * _MINUTE,
        mean_run=runs.mean_run,
        p95_run=quantile(runs.spread, 0.95),
        mean_batch=seen.batched / seen.batches if seen.batches else None,
        busy=minute.busy,
        worker_rate=rate,
        target=target.total_seconds(),
        drain=drain,
        recommended=recommended,
        attention=late,
        words=_words(figures, late=late),
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """What the words are made of."""

    pool: str
    backlog: Backlog
    workers: int
    arrivals: float
    rate: float | None
    drain: float | None
    recommended: int
    target: timedelta


def _present(flow: Flow) -> int:
    return round(flow.worker_seconds / flow.seconds) if flow.seconds else 0


def _threads_each(windows: Windows) -> float:
    for flow in (windows.recent, windows.five, windows.hour):
        if flow.worker_seconds:
            return flow.thread_seconds / flow.worker_seconds
    return 0.0


def _recommended(
    backlog: Backlog, *, arrivals: float, rate: float | None, workers: int, target: timedelta
) -> int:
    """At least one where anything comes or waits; one more than there are where waits grow unmeasured.

    No more than there are for a paused pool, which more would not help.
    """
    if not backlog.depth and not arrivals and not backlog.in_flight:
        return 0
    wanted = _needed(backlog, arrivals=arrivals, rate=rate, workers=workers, target=target)
    return min(wanted, workers) if backlog.paused else wanted


def _needed(backlog: Backlog, *, arrivals: float, rate: float | None, workers: int, target: timedelta) -> int:
    if rate:
        oldest = backlog.oldest or 0.0
        wanted = workers_for(
            depth=backlog.depth, arrivals=arrivals, per_worker=rate, target=target, oldest=oldest
        )
        return max(1, wanted)
    waits_long = (backlog.oldest or 0.0) > target.total_seconds()
    return max(1, workers + 1 if waits_long else workers)


def _late(backlog: Backlog, drain: float | None, target: timedelta) -> bool:
    if not backlog.depth:
        return False
    overdue = (backlog.oldest or 0.0) > target.total_seconds()
    return backlog.paused or overdue or not backlog.workers or drain is None or drain > target.total_seconds()


def _words(found: _Figures, *, late: bool) -> str:
    name, depth = f"`{found.pool}`", found.backlog.depth
    jobs = "1 job" if depth == 1 else f"{depth} jobs"
    if not depth:
        return f"{name} has nothing waiting"
    if found.backlog.paused:
        return f"{name} is paused, with {jobs} waiting"
    if not found.workers:
        return f"{name} has no worker and {jobs} waiting; start {found.recommended}"
    if found.rate is None:
        return f"{name} has {jobs} waiting, and none has ended yet to tell how long they take"
    help_ = _help(found)
    if found.drain is None:
        done = found.workers * found.rate
        return f"{name} grows: {found.arrivals:.3g} a second come, and {done:.3g} can be done{help_}"
    return f"{name} will take {in_words(found.drain)} to drain{help_ if late else ''}"


def _help(found: _Figures) -> str:
    more = found.recommended - found.workers
    if more <= 0:
        return ""
    one = more == 1
    them = "1 more worker brings" if one else f"{more} more workers bring"
    return f"; {them} it under {in_words(found.target.total_seconds())}"


def in_words(seconds: float) -> str:
    """A time as people say it: `40 s`, `14 min`, `3 h`, `2 d`."""
    for longest, unit, name in ((90, 1, "s"), (90 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < longest:
            return f"{max(1, round(seconds / unit))} {name}"
    return f"{round(seconds / 86400)} d"
