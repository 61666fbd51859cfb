"""One job, whole: what it was given, how its runs went, what was told; and what can be done with it."""

import json
from collections.abc import Mapping
from typing import Any

from nicegui import ui
from starlette.requests import Request

from api.console.acting import Act, ask
from api.console.frame import Operator, frame, page
from api.console.parts import Box, Facts, back, button, heading, known, path
from api.console.table import Column, Row, Table
from api.console.words import ago, error_line, moment, plain, span
from api.routes.ops_jobs import linked
from domain.audit_log.models import Actor
from domain.jobs.rules import DEAD, QUEUED, REPLAYABLE

RUNS = (
    Column("number", "Run", "number"), Column("outcome", "Outcome", "state"), Column("started", "Began",
    "when"),
    Column("ended", "Ended", "when"), Column("worker", "Worker", "code"), Column("batch", "Batch", "code"),
    Column("error", "Error"),
)  # fmt: skip
LINES = (Column("at", "At", "when"), Column("state", "State", "state"), Column("note", "Note"))
EVENTS = (
    Column("at", "At", "when"),
    Column("type", "Event"),
    Column("to", "Told to", "code"),
    Column("seq", "No.", "number"),
)
#: The name of the act, what it is called, and what will happen.
ACTS = {
    "replay": ("Replay", "The job runs again, under its own id. What it has done already is not done twice."),
    "cancel": ("Cancel", "The job ends as cancelled and has no effect. Only a replay brings it back."),
    "expedite": (
        "Send ahead",
        "The job is sent once more, by the express queue, before all that waits in its pool.",
    ),
}


@page("/jobs/{job_id}")
async def job(request: Request, job_id: str) -> None:
    """All that was kept of it."""
    async with frame(request, "Job") as operator:
        back("All jobs", path("/jobs"))
        with known() as body:
            buttons = _Buttons(operator, job_id)
            facts = Facts("The job")
            heading("Error")
            error = Box("Error")
            heading("Payload")
            payload = Box("Payload")
            heading("Runs")
            runs = Table("Runs", RUNS, empty="No run was kept.")
            heading("History")
            history = Table("History", LINES, empty="The history was compacted away.")
            heading("Events")
            events = Table("Events", EVENTS, empty="Nobody was told of it.")

        async def now() -> None:
            shown = await operator.reads.read(
                ("job", job_id), lambda: operator.services.job_desk.show(job_id)
            )
            names = await operator.names([shown["owner"]])
            body.set_visibility(True)
            buttons.show(shown)
            facts.show(*_facts(operator, shown, names))
            error.show(_error(shown["error"]))
            payload.show(_pretty(shown["payload"], "It was compacted away."))
            runs.show([_run(number, run) for number, run in enumerate(shown["runs"], 1)])
            history.show([_line(number, line) for number, line in enumerate(shown["history"] or ())])
            events.show([_event(event) for event in shown["events"]])

        await operator.live(now)


class _Buttons:
    """What can be done with the job as it is."""

    def __init__(self, operator: Operator, job_id: str) -> None:
        self._operator = operator
        self._job_id = job_id
        self._made = {}
        with ui.element("div").classes("ends"):
            for name, (label, _) in ACTS.items() if operator.writes else ():
                self._made[name] = button(label, lambda name=name: self._ask(name), danger=name == "cancel")  # type: ignore[misc]

    def show(self, job: Mapping[str, Any]) -> None:
        """Those that make sense."""
        state = job["state"]
        sense = {
            "replay": state in REPLAYABLE and job["payload"] is not None,
            "cancel": state in {QUEUED, DEAD},
            "expedite": state == QUEUED,
        }
        for name, made in self._made.items():
            made.set_visibility(sense[name])

    async def _ask(self, name: str) -> None:
        await ask(self._operator, act_on(self._operator, name, self._job_id))


def act_on(operator: Operator, name: str, job_id: str) -> Act:
    """What replaying, cancelling or sending ahead a job is."""
    label, says = ACTS[name]

    async def do(actor: Actor, reason: str | None) -> str:
        done = await getattr(operator.services.job_desk, name)(job_id, actor=actor, reason=reason)
        return f"Done: the job is {done['state']}."

    return Act(f"{label}: job {job_id}", says, label, do, danger=name == "cancel")


def _facts(
    operator: Operator, job: Mapping[str, Any], names: Mapping[str, str]
) -> list[tuple[str, str, str | None]]:
    links, times, now = linked(dict(job))["links"], job["timings"], operator.now
    order = path(f"/orders/{job['subject']}") if "order" in links else None
    sent = (
        f"{_when(job['dispatched_at'], now)}, after {_ms(times['sent_ms'])}" if job["dispatched_at"] else "-"
    )
    others = [
        ("Pool", job["pool"]), ("Runs", str(job["attempts"])), ("Progress", _short(job["progress"])),
        ("Result", _short(job["result"])), ("Accepted", _when(job["created_at"], now)),
        ("Sent", sent),
        ("Waited", _ms(times["waited_ms"])), ("Ran", _ms(times["ran_ms"])), ("In all",
        _ms(times["total_ms"])),
        ("Not before", moment(job["not_before"])), ("Lease until", moment(job["lease_until"])),
        ("Failing since", moment(job["failing_since"])), ("Key", job["key"]), ("Request",
        job["request_id"] or "-"),
    ]  # fmt: skip
    first: list[tuple[str, str, str | None]] = [
        ("Id", job["id"], None),
        ("Kind", f"{job['kind']}, version {job['version']}", None),
        ("State", job["state"], None),
        ("Owner", names[job["owner"]], path("/jobs", {"owner": job["owner"]})),
        ("About", job["subject"] or "-", order),
    ]
    return first + [(name, value, None) for name, value in others if value not in {"-", ""}]


def _error(error: Mapping[str, Any] | None) -> str:
    if not error:
        return "None."
    lines = [f"{error.get('code')}: {error.get('message', '')}"]
    lines += [_short(error["detail"])] if error.get("detail") else []
    return "\n\n".join([*lines, *([str(error["fault"])] if error.get("fault") else [])])


def _run(number: int, run: Mapping[str, Any]) -> Row:
    return {
        "id": number, "number": str(number), "outcome": run["outcome"] or "running",
        "started": moment(run["started_at"], fine=True), "ended": moment(run["ended_at"], fine=True),
        "worker": run["worker"] or "-",
        "batch": plain(run["batch"]) if run["batch"] else "-",
        "error": run_error(run["error"]) or run["note"] or "",
    }  # fmt: skip


def run_error(error: Any) -> str:
    """A run's error, as it was kept: a text, or with its code."""
    return error_line(error) if isinstance(error, Mapping) else str(error or "")


def _line(number: int, line: Mapping[str, Any]) -> Row:
    also = [line["note"], line.get("reason"), line.get("worker") and f"by {line['worker']}",
            line.get("bulk") and f"in the bulk run {line['bulk']}", run_error(line.get("error"))]  # fmt: skip
    return {
        "id": number,
        "at": moment(line["at"], fine=True),
        "state": line["state"],
        "note": ". ".join(filter(None, also)),
    }


def _event(event: Mapping[str, Any]) -> Row:
    return {"id": event["id"], "at": moment(event["time"], fine=True), "type": event["type"],
            "to": event["account_id"], "seq": str(event["seq"])}  # fmt: skip


def _pretty(value: Any, nothing: str) -> str:
    return nothing if value is None else json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _short(value: Any) -> str:
    return "-" if value in (None, {}) else json.dumps(value, ensure_ascii=False, default=str)


def _when(at: str | None, now: Any) -> str:
    return "-" if at is None else f"{moment(at)} ({ago(at, now)})"


def _ms(milliseconds: int | None) -> str:
    return "-" if milliseconds is None else span(milliseconds / 1000)
