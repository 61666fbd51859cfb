"""The timetable: each entry's last and next run, how it went, and running it now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request

from api.console.acting import Act, ask
from api.console.frame import Operator, frame, page
from api.console.parts import note
from api.console.table import Button, Column, Row, Table
from api.console.words import ago, span
from domain.audit_log.models import Actor
from domain.changes import Doc
from domain.control.forms import entry_form
from domain.control.rules import DONE
from domain.control.timetable import EntrySeen

#: Seconds that an asked run is waited for.
WAITED = 10.0
COLUMNS = (
    Column("title", "Entry", "named"), Column("state", "State", "state"), Column("every", "Every", "number"),
    Column("last", "Last run", "when"), Column("took", "Took", "number"), Column("result", "Result"),
    Column("did", "Last work"), Column("next", "Next run", "when"),
)  # fmt: skip


@page("/schedule")
async def schedule(request: Request) -> None:
    """As the leader keeps it."""
    async with frame(request, "Schedule") as operator:
        leader = note()
        table = Table(
            "Timetable", COLUMNS, empty="No scheduler has ever led the timetable.",
            buttons=[Button("run", "Run now")] if operator.writes else (),
            on_act=lambda _, row: _run(operator, row),
        )  # fmt: skip

        async def now() -> None:
            timetables = operator.services.control.timetables
            leads = await operator.reads.read("leader", timetables.leader)
            leader.text = _leader(leads)
            entries = await operator.reads.read("entries", timetables.find)
            table.show([_row(each, operator) for each in entries])

        await operator.live(now)


def _leader(leads: Doc | None) -> str:
    return (
        f"Led by the scheduler {leads['pid']} on {leads['host']}." if leads else "Nobody leads the timetable."
    )


def _row(seen: EntrySeen, operator: Operator) -> Row:
    entry, now = entry_form(seen), operator.now
    last, did = entry["last"] or {}, entry["did"]
    overdue = seen.next_at is not None and (now - seen.next_at).total_seconds() > WAITED
    state = "failing" if entry["failing"] else "overdue" if overdue else "ok"
    return {
        "id": entry["name"], "title": entry["title"], "state": state, "every": span(entry["every_ms"] / 1000),
        "last": ago(last.get("at"), now),
        "took": span(last["ms"] / 1000) if last.get("ms") is not None else "-",
        "result": _result(last),
        "did": f"{did['result']} done {ago(did['at'], now)}" if did else "-", "next": _next(seen, now, state),
        "acts": "run", "named": entry["title"],
    }  # fmt: skip


def _next(seen: EntrySeen, now: datetime, state: str) -> str:
    """When it runs again. Often means that it has run since the leader told of it last."""
    if seen.next_at is None:
        return f"within {span(seen.entry['every_ms'] / 1000)}"
    due = seen.next_at <= now
    return "now" if due and state != "overdue" else ago(seen.next_at, now)


def _result(last: Mapping[str, Any]) -> str:
    if not last:
        return "has not run yet"
    return str(last["error"] or (f"{last['result']} done" if last["result"] else "nothing to do"))


async def _run(operator: Operator, row: Row) -> None:
    async def do(actor: Actor, reason: str | None) -> str:
        run = await operator.services.control.timetables.run(
            row["id"], by=actor, seconds=WAITED, reason=reason
        )
        if run["error"]:
            return f"It failed: {run['error']}"
        return (
            f"Done: {run['result'] or 'nothing to do'}."
            if run["state"] == DONE
            else "It runs, and takes its time."
        )

    says = "The leader runs it at once. Every entry may run at any time: it does what is due and no more."
    await ask(operator, Act(f"Run now: {row['title']}", says, "Run now", do))
