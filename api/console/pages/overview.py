"""The overview: what needs attention, in words; how the pools are doing; the last hour."""

import re
from collections.abc import Sequence

from nicegui import ui
from starlette.requests import Request

from api.console.charts import Chart, History
from api.console.frame import Operator, frame, page
from api.console.parts import Facts, Lines, heading, note, path
from api.console.table import Column, Row, Table
from api.console.words import count, many, share, span
from domain.control.status import Health
from domain.jobs.pool_reports import PoolReport

LEGEND = (
    "Rates and run times (mean and p95) are of the last minute. "
    "Wanted: workers that keep the pool's target wait."
)
#: Who acted, as sentences name them.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: A minute ends but once.
MINUTE_FRESH = 15.0
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
        heading("Pools")
        pools = Table("Pools", COLUMNS, empty="There are no pools.")
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
            reports = await operator.reads.read("pools", operator.services.pools.look)
            health = await operator.reads.read("status", operator.services.control.status.look, fresh=4.0)
            lines = attention_of(health, reports)
            names = await operator.names(_ID.findall(" ".join(lines)))
            attention.show([_ID.sub(lambda found: names[found[0]], line) for line in lines])
            pools.show([_row(report) for report in reports])
            facts.show(*_facts(health))

        async def hour() -> None:
            history = await operator.reads.read("history", lambda: _history(operator), fresh=MINUTE_FRESH)
            for chart in charts:
                chart.show(history)

        await operator.live(now)
        await operator.live(hour, every=MINUTE_FRESH)


def attention_of(health: Health, reports: Sequence[PoolReport]) -> list[str]:
    """What is worth a look, once each: the pools in the words of their figures, which say what helps."""
    late = {report.pool: report.words for report in reports if report.attention}
    others = [line for line in health.attention if not any(line.startswith(f"`{pool}`") for pool in late)]
    return [line.replace("`", "") for line in (*late.values(), *others)]


async def _history(operator: Operator) -> History:
    pools = operator.services.pools
    return {report.pool: await pools.history(report.pool) for report in await pools.look()}


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
