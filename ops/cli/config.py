"""`stockyard config`: whether the settings make sense, and whether what they name answers."""

import asyncio
import difflib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from dotenv import dotenv_values

from domain.bootstrap import Ping, open_services
from domain.errors import ServiceAway
from domain.observe import configure_logging
from domain.settings import Log, Settings
from domain.startup import unfit, unreadable, unusable
from ops.cli.shared import REFUSED, AsJson, show
from ops.environment import variables

app = typer.Typer(help="The settings.", no_args_is_help=True)

PREFIX = "STOCKYARD_"
#: Seconds that a service may take to answer.
PATIENCE = 5.0


@app.callback()
def _group() -> None:
    """Keeps `check` a command of its group while it is the only one."""


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Read all settings, find unknown ones, and ask each service for an answer."""
    configure_logging(Log(format="console", level="ERROR"))
    problems = unknown_variables({**_dotenv(), **os.environ})
    services: dict[str, dict[str, Any]] = {}
    try:
        settings = Settings()
    except ValueError as error:
        problems += unreadable(error)
    else:
        wrong = list(unusable(settings))
        problems += [*wrong, *unfit(settings)]
        services = {} if wrong else asyncio.run(_ask(settings))
    healthy = not problems and all(each["ok"] for each in services.values())
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


async def _ask(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        async with open_services(settings) as services:
            answers = await asyncio.gather(*(_answer(ping) for ping in services.pings.values()))
            return dict(zip(services.pings, answers, strict=True))
    except ServiceAway as error:
        # Nothing opens without it; the others were not asked.
        name = str(error.detail.get("service", "service")).lower()
        return {name: {"ok": False, "error": str(error.detail.get("reason", error))}}


async def _answer(ping: Ping) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            await ping()
    except Exception as error:  # noqa: BLE001 - every client has failures of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {"ok": False, "error": reason[:200]}
    return {"ok": True, "latency_ms": round((time.perf_counter() - began) * 1000, 1)}


def _text(problems: list[str], services: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"wrong     {problem}" for problem in problems]
    for name, found in sorted(services.items()):
        how = f"answers in {found['latency_ms']} ms" if found["ok"] else f"away: {found['error']}"
        lines.append(f"{name:<9} {how}")
    if not problems:
        lines.insert(0, f"settings  {len(variables())} known, all readable")
    return "\n".join(lines)
