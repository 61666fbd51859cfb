"""`stockyard status`: whether all is well."""

from typing import Any

import typer

from domain.bootstrap import Services
from domain.control.forms import health_form
from domain.control.status import Health
from ops.cli import queues
from ops.cli.shared import REFUSED, AsJson, plain, show, with_services


def status(*, as_json: AsJson = False) -> None:
    """Look at services, queues, processes and the timetable; exit with 1 where something needs attention."""

    async def work(services: Services) -> Health:
        return await services.control.status.look()

    found = health_form(with_services(work))
    show(found, _text(found), as_json=as_json)
    if not found["ok"]:
        raise typer.Exit(REFUSED)


def _text(found: dict[str, Any]) -> str:
    services = ", ".join(
        f"{each['name']} {'answers' if each['ok'] else 'is away'}" for each in found["services"]
    )
    processes = ", ".join(
        f"{count} {role} {state}"
        for role, states in found["processes"].items()
        for state, count in states.items()
    )
    lines = [
        f"services   {services}",
        f"processes  {processes or 'none'}",
        f"schedule   {found['schedule']['entries']} entries, {found['schedule']['failing']} failing",
        "",
        queues.text(found["queues"]),
        "",
    ]
    lines += [f"attention  {plain(each)}" for each in found["attention"]] or ["all is well"]
    return "\n".join(lines)
