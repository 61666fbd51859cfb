"""The overview: what needs attention, in words; how the pools are doing; the last hour."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nicegui import ui
from starlette.requests import Request

from api.console.charts import Chart, History
from api.console.frame import Operator, frame, page
from api.console.parts import Facts, Line, Lines, Way, heading, note, path
from api.console.reads import URGENT
from api.console.table import Column, Row, Table
from api.console.words import ago, count, many, share, span
from domain.control.status import Health
from domain.jobs.commands import pools
from domain.jobs.forms import groups_form
from domain.jobs.pool_reports import PoolReport
from domain.orders.stuck import Stuck

LEGEND = (
    "Rates and run times (mean and p95) are of the last minute. "
    "Wanted: workers that keep the pool's target wait."
)
#: Who acted, as sentences name them.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: A minute ends but once.
MINUTE_FRESH = 15.0
#: Seconds between two looks for what is dead or stuck.
LOOK_EVERY = 5.0
#: What is stuck because somebody said so, or meant it, needs no word here.
MEANT = frozenset({"job_paused", "job_postponed"})
#: What stands in the place of acts for who may only look.
LOOK = "Show"
#: The longest line, and how many failures of the timetable are told one by one.
LONGEST, MANY = 240, 2
WORKERS, SCHEDULE = ("Workers", path("/workers")), ("Schedule", path("/schedule"))
COLUMNS = (
    Column("pool", "Pool", "named"), Column("depth", "Waiting", "number"), Column("oldest", "Oldest",
    "number"),
    Column("arrivals", "Arrive/s", "number"), Column("completions", "Done/s", "number"),
    Column("mean", "Mean", "number"), Column("p95", "p95", "number"),
    Column("drain", "Drained in", "number"), Column("workers", "Workers", "number"),
    Column("wanted", "Wanted", "number"), Column("busy", "Busy", "number"),
    Column("in_flight", "In hand", "number"), Column("faults", "Fails/min", "number"),
)  # fmt: skip


@page("/")
async def overview(request: Request) -> None:
    """The first page."""
    async with frame(request, "Overview") as operator:
        heading("What needs attention")
        attention = Lines("What needs attention", empty="Nothing: all is well.", live=True)
        left = list[Line]()
        heading("Pools")
        table = Table("Pools", COLUMNS, empty="There are no pools.")
        note(LEGEND)
        heading("The last hour")
        with ui.element("div").classes("charts"):
            charts = [
                Chart("Jobs accepted", "a minute", lambda minute: minute.arrived),
                Chart("Jobs done", "a minute", lambda minute: minute.done),
                Chart("Run time, p95", "milliseconds", lambda minute: _milliseconds(minute.p95_run)),
                Chart("Failures", "a minute", lambda minute: minute.faults),
            ]
        heading("Services and processes")
        facts = Facts("Services and processes")

        async def now() -> None:
            reads, services = operator.reads, operator.services
            health, reports = await asyncio.gather(
                reads.read("status", services.control.status.look, dearness=URGENT),
                reads.read("pools", services.pools.look, dearness=URGENT),
            )
            lines = attention_of(health, reports)
            names = await operator.names(_ID.findall(" ".join(lines)))
            named = [_ID.sub(lambda found: names[found[0]], line) for line in lines]
            attention.show(
                [*left, *folded([(line, *way) if (way := _way(line)) else line for line in named])]
            )
            table.show([_row(report) for report in reports])
            facts.show(*_facts(health))

        async def hour() -> None:
            history = await operator.reads.read("history", lambda: _history(operator), fresh=MINUTE_FRESH)
            for chart in charts:
                chart.show(history)

        async def look() -> None:
            left[:] = await _left(operator)

        await operator.live(look, every=LOOK_EVERY)
        await operator.live(now)
        await operator.live(hour, every=MINUTE_FRESH)


def attention_of(health: Health, reports: Sequence[PoolReport]) -> list[str]:
    """What is worth a look, once each: the pools in the words of their figures, which say what helps."""
    late = {report.pool: report.words for report in reports if report.attention}
    others = [line for line in health.attention if not any(line.startswith(f"`{pool}`") for pool in late)]
    return [line.replace("`", "") for line in (*late.values(), *others)]


def folded(lines: Sequence[Line]) -> list[Line]:
    """Short, and the timetable's many failures in one: they have one cause as a rule."""
    short: list[Line] = [
        _short(line) if isinstance(line, str) else (_short(line[0]), *line[1:]) for line in lines
    ]
    failing = [line for line in short if not isinstance(line, str) and line[1:] == SCHEDULE]
    if len(failing) <= MANY:
        return short
    says = f"{len(failing)} entries of the timetable fail or are overdue. The first: {failing[0][0]}"
    return [*(line for line in short if line not in failing), (_short(says), *SCHEDULE)]


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _way(line: str) -> tuple[str, str] | None:
    """The page where something can be done about it; none where that is not in the console."""
    if line.endswith("does not answer"):
        return None
    pool = line.split(" ", 1)[0].rstrip(":") in pools()
    return WORKERS if pool or line.startswith("the ") else SCHEDULE


async def _left(operator: Operator) -> list[Line]:
    """What does not go on by itself: dead jobs, and what is stuck."""
    found, more = await operator.reads.read("dead", operator.services.job_desk.dead.groups, fresh=LOOK_EVERY)
    stuck = await operator.reads.read("stuck", operator.services.order_desk.stuck.find, fresh=2 * LOOK_EVERY)
    lines = [*_of_dead(groups_form(found, more=more), operator.now), *_of_stuck(stuck, operator.now)]
    return offered(lines, acts=operator.writes)


def offered(lines: Sequence[Way], *, acts: bool) -> list[Line]:
    """The lines as they are shown to whoever may act; whoever may not is led there, and promised nothing."""
    return [line if acts else (line[0], LOOK, line[2]) for line in lines]


def _of_dead(form: Mapping[str, Any], now: datetime) -> list[Way]:
    if not form["jobs"]:
        return []
    first = form["groups"][0]
    most = f", most of them {first['kind']}" if len(form["groups"]) > 1 else f", {first['kind']}"
    last = max(group["last_at"] for group in form["groups"])
    says = f"{many(form['jobs'], 'job')} died{most}; the last {ago(last, now)}."
    return [(says, "Replay or discard", path("/dead"))]


def _of_stuck(found: Sequence[Stuck], now: datetime) -> list[Way]:
    found = [each for each in found if each.what not in MEANT]
    if not found:
        return []
    first = found[0]
    since = span((now - first.since).total_seconds())
    says = f"{many(len(found), 'thing is', 'things are')} stuck, the first for {since}: {first.says}"
    return [(says, "Repair", path("/orders"))]


async def _history(operator: Operator) -> History:
    found = operator.services.pools
    return {pool: await found.history(pool) for pool in pools()}


def _row(report: PoolReport) -> Row:
    return {
        "id": report.pool,
        "pool": f"{report.pool} (paused)" if report.paused else report.pool,
        "pool_to": path("/jobs", {"pool": report.pool, "state": "queued"}),
        "depth": count(report.depth),
        "oldest": span(report.oldest) if report.depth else "-",
        "arrivals": count(report.arrivals),
        "completions": count(report.completions),
        "mean": span(report.mean_run),
        "p95": span(report.p95_run),
        "drain": _drain(report),
        "workers": count(report.workers),
        "wanted": count(report.recommended),
        "busy": share(report.busy),
        "in_flight": count(report.in_flight),
        "faults": count(report.failures_per_minute),
        "tone": "late" if report.attention else "",
    }


def _drain(report: PoolReport) -> str:
    if not report.depth:
        return "-"
    return "never" if report.drain is None else span(report.drain)


def _facts(health: Health) -> list[tuple[str, str]]:
    services = [(each.name, "answers" if each.ok else f"away: {each.error}") for each in health.services]
    roles = [
        (many(sum(states.values()), role), ", ".join(f"{number} {state}" for state, number in states.items()))
        for role, states in sorted(health.counts.items())
    ]
    return [*services, *roles]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
