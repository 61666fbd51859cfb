"""`stockyard config`: whether the settings make sense, and whether what they name answers."""

import asyncio
import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from dotenv import dotenv_values

from domain.bootstrap import check_services
from domain.control.asking import Answer
from domain.observe import configure_logging
from domain.settings import Log, Settings
from domain.startup import unfit, unreadable, unusable
from ops.cli.shared import REFUSED, AsJson, plain, show
from ops.environment import variables

app = typer.Typer(help="The settings.", no_args_is_help=True)

PREFIX = "STOCKYARD_"


@app.callback()
def _group() -> None:
    """Keeps `check` a command of its group while it is the only one."""


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Read all settings, find unknown ones, and try each service that they name."""
    configure_logging(Log(format="console", level="ERROR"))
    problems = unknown_variables({**_dotenv(), **os.environ})
    answers: list[Answer] = []
    try:
        settings = Settings()
    except ValueError as error:
        problems += unreadable(error)
    else:
        wrong = list(unusable(settings))
        problems += [*wrong, *unfit(settings)]
        answers = [] if wrong else asyncio.run(check_services(settings))
    healthy = not problems and all(each.ok for each in answers)
    services = {each.name: _form(each) for each in answers}
    result = {"ok": healthy, "problems": problems, "services": services}
    show(result, _text(problems, services), as_json=as_json)
    if not healthy:
        raise typer.Exit(REFUSED)


def unknown_variables(environment: Mapping[str, str | None]) -> list[str]:
    """One line for each variable of ours that no setting reads, with the likeliest one that was meant."""
    known = variables()
    found = []
    for name in sorted(name.upper() for name in environment):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            found.append(f"{name}: no such setting" + (f"; is it {close[0]}?" if close else ""))
    return found


def _dotenv() -> dict[str, str | None]:
    return dict(dotenv_values(".env")) if Path(".env").is_file() else {}


def _form(answer: Answer) -> dict[str, Any]:
    if not answer.ok:
        return {"ok": False, "error": answer.error}
    return {"ok": True, "latency_ms": answer.latency_ms} | ({"note": answer.note} if answer.note else {})


def _text(problems: list[str], services: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"wrong     {problem}" for problem in problems]
    for name, found in sorted(services.items()):
        note = f"; {found['note']}" if "note" in found else ""
        how = f"answers in {found['latency_ms']} ms{note}" if found["ok"] else f"away: {found['error']}"
        lines.append(f"{name:<9} {plain(how)}")
    if not problems:
        lines.insert(0, f"settings  {len(variables())} known, all readable")
    return "\n".join(lines)
