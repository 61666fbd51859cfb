"""`stockyard schedule`: the timetable, and running an entry now."""

from typing import Annotated, Any

import typer

from domain.bootstrap import Services
from domain.changes import Doc
from domain.control.forms import entry_form, run_form
from domain.control.rules import DONE
from domain.control.timetable import EntrySeen
from ops.cli.shared import REFUSED, AsJson, Reason, actor, show, table, with_services

app = typer.Typer(help="The timetable.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Such as expire-holds.", show_default=False)]
Wait = Annotated[float, typer.Option("--wait", min=0.1, max=3600, help="Seconds to wait for its end.")]


@app.command("list")
def list_entries(*, as_json: AsJson = False) -> None:
    """List each entry with its last and next run."""

    async def work(services: Services) -> list[EntrySeen]:
        return await services.control.timetables.find()

    found = [entry_form(each) for each in with_services(work)]
    show({"entries": found}, _text(found), as_json=as_json)


@app.command()
def run(name: Name, *, wait: Wait = 30.0, reason: Reason = None, as_json: AsJson = False) -> None:
    """Have the leader run an entry now; exit with 1 where it fails, or takes longer than --wait."""

    async def work(services: Services) -> Doc:
        return await services.control.timetables.run(name, by=actor(), seconds=wait, reason=reason)

    found = run_form(with_services(work))
    told = {"done": f"done: {found['result']}", "failed": f"failed: {found['error']}"}
    show(found, told.get(found["state"], "it still runs"), as_json=as_json)
    if found["state"] != DONE:
        raise typer.Exit(REFUSED)


def _text(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            each["name"], f"{each['every_ms'] / 1000:g} s", each["last"] and each["last"]["at"],
            each["next_at"], each["last"] and each["last"]["ms"], each["last"] and each["last"]["result"],
            each["did"] and each["did"]["at"], each["failing"] or None,
            each["last"] and each["last"]["error"],
        ]
        for each in found
    ]  # fmt: skip
    columns = (
        "name", "every", "last run", "next run", "ms", "result", "last did something", "failing", "error",
    )  # fmt: skip
    return table(columns, rows)
