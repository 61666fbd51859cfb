"""`stockyard workers`: the processes, and draining workers."""

from typing import Annotated, Any

import typer

from domain.bootstrap import Services
from domain.control.forms import process_form
from domain.control.processes import Seen
from ops.cli.shared import AsJson, Reason, actor, show, table, with_services

app = typer.Typer(help="Processes that are there, and draining workers.", no_args_is_help=True)

ProcessId = Annotated[str, typer.Argument(help="As `workers list` shows it.", show_default=False)]


@app.command("list")
def list_processes(*, as_json: AsJson = False) -> None:
    """List workers, APIs and schedulers, and what they have in hand."""

    async def work(services: Services) -> list[Seen]:
        return await services.control.processes.find()

    found = [process_form(each) for each in with_services(work)]
    show({"processes": found}, _text(found), as_json=as_json)


@app.command()
def drain(process_id: ProcessId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have a worker finish the jobs in hand and take no more, until it is undrained."""

    async def work(services: Services) -> Seen:
        return await services.control.processes.drain(process_id, by=actor(), reason=reason)

    _show(with_services(work), as_json=as_json)


@app.command()
def undrain(process_id: ProcessId, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have a worker take jobs again."""

    async def work(services: Services) -> Seen:
        return await services.control.processes.undrain(process_id, by=actor(), reason=reason)

    _show(with_services(work), as_json=as_json)


def _show(seen: Seen, *, as_json: bool) -> None:
    form = process_form(seen)
    drained = "takes no more jobs" if form["drain"] else "takes jobs"
    text = f"{form['id']} on {form['host']} {drained}; in hand: {len(form['jobs'])}"
    show(form, text, as_json=as_json)


def _text(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            each["id"], each["role"], each["state"], each["host"], each["pid"], " ".join(each["pools"]),
            len(each["jobs"]), each["threads"] or None, f"{each['memory_bytes'] / 2**20:.0f} MB",
            each["version"], each["started_at"],
        ]
        for each in found
    ]  # fmt: skip
    columns = ("id", "role", "state", "host", "pid", "pools", "jobs", "threads", "memory", "version", "since")
    return table(columns, rows)
