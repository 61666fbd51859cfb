"""`stockyard pools` and `stockyard top`: the pools in figures and words, once or live."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from domain.bootstrap import Services
from domain.control.pool_forms import pool_form
from domain.events.rules import rfc3339
from domain.jobs.pool_reports import PoolReport, in_words
from ops.cli.shared import WIDTH, AsJson, plain, rendered, show, with_services

COLUMNS = (
    "pool", "waiting", "oldest", "in hand", "come/s", "done/s", "mean run", "p95 run", "faults/min",
    "busy", "workers", "wanted", "drained in",
)  # fmt: skip

Every = Annotated[float, typer.Option("--every", min=0.5, max=3600, help="Seconds between two looks.")]
Times = Annotated[
    int, typer.Option("--times", min=0, help="Look so many times; 0 until Ctrl-C.", show_default=True)
]


def pools(*, as_json: AsJson = False) -> None:
    """Show what waits in each pool, how fast it is worked off, and how many workers it takes."""

    async def work(services: Services) -> list[PoolReport]:
        return await services.pools.look()

    found = with_services(work)
    show({"pools": [pool_form(each) for each in found]}, rendered(picture(found)), as_json=as_json)


def top(*, every: Every = 2.0, times: Times = 0, as_json: AsJson = False) -> None:
    """Show the pools live. With `--json` one object a line."""

    async def work(services: Services) -> None:
        if as_json:
            await _lines(services, every, times)
        else:
            await _live(services, every, times)

    with suppress(KeyboardInterrupt):
        with_services(work)


async def _lines(services: Services, every: float, times: int) -> None:
    async for found in _looks(services, every, times):
        form = {"at": rfc3339(services.clock()), "pools": [pool_form(each) for each in found]}
        typer.echo(json.dumps(form))


async def _live(services: Services, every: float, times: int) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    with Live(console=console, auto_refresh=False) as live:
        async for found in _looks(services, every, times):
            live.update(picture(found), refresh=True)


async def _looks(services: Services, every: float, times: int) -> AsyncIterator[list[PoolReport]]:
    looked = 0
    while True:
        yield await services.pools.look()
        looked += 1
        if looked == times:
            return
        await asyncio.sleep(every)


def picture(found: Sequence[PoolReport]) -> Group:
    """The table, and below it what needs attention, in words."""
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(COLUMNS):
        table.add_column(name, overflow="fold", no_wrap=number == 0)
    for each in found:
        table.add_row(*(Text(plain(cell)) for cell in _row(each)), style="bold" if each.attention else None)
    return Group(table, *(Text(plain(each.words)) for each in found if each.attention))


def _row(of: PoolReport) -> tuple[object, ...]:
    return (
        f"{of.pool} (paused)" if of.paused else of.pool,
        of.depth,
        _time(of.oldest),
        of.in_flight,
        f"{of.arrivals:.3g}",
        f"{of.completions:.3g}",
        _time(of.mean_run),
        _time(of.p95_run),
        f"{of.failures_per_minute:.3g}",
        None if of.busy is None else f"{of.busy:.0%}",
        of.workers,
        of.recommended,
        ("-" if not of.depth else "never") if of.drain is None else _time(of.drain),
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds == 0:
        return "0"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else in_words(seconds)
