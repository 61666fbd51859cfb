"""`stockyard autoscale`: as many workers on this host as their pools need."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from domain.bootstrap import Services
from domain.jobs.commands import pools as known_pools
from ops import autoscale as engine
from ops.cli.shared import USAGE, AsJson, end, plain, with_services
from ops.steering import GROW_PAUSE, SHRINK_AFTER, Bounds, Steering

Pools = Annotated[
    list[str],
    typer.Option("--pool", help="A pool and its bounds, such as orders=1..4; repeat it.", show_default=False),
]
Every = Annotated[float, typer.Option("--every", min=0.2, max=600, help="Seconds between two looks.")]
GrowPause = Annotated[
    float, typer.Option("--grow-pause", min=0, max=3600, help="Seconds after a growth before the next.")
]
ShrinkAfter = Annotated[
    float,
    typer.Option(
        "--shrink-after", min=0, max=86400, help="Seconds for which fewer have to do before one is stopped."
    ),
]


def autoscale(
    *,
    pool: Pools,
    every: Every = 2.0,
    grow_pause: GrowPause = GROW_PAUSE,
    shrink_after: ShrinkAfter = SHRINK_AFTER,
    as_json: AsJson = False,
) -> None:
    """Start and stop worker processes of this host by what their pools need, until SIGTERM or Ctrl-C.

    Prints a line for each change. Its workers log to its standard error, and do not outlive it.
    """
    steerings = [
        Steering(bounds, grow_pause=grow_pause, shrink_after=shrink_after) for bounds in _bounds(pool)
    ]

    def tell(change: engine.Change) -> None:
        line = f"{change.pool}: {change.before} -> {change.after}  {plain(change.why)}"
        typer.echo(json.dumps(asdict(change)) if as_json else line)

    async def work(services: Services) -> None:
        within = services.settings.workers.shutdown_timeout.total_seconds()
        scaler = engine.Autoscaler(
            services.pools,
            services.control.processes,
            steerings,
            every=every,
            stop_within=within,
            tell=tell,
            command=engine.COMMAND,
        )
        await scaler.run(engine.stop_on_signals())

    with_services(work)


def _bounds(wanted: list[str]) -> list[Bounds]:
    try:
        found = [Bounds.parse(each) for each in wanted]
    except ValueError as error:
        end(str(error), code=USAGE)
    names = [each.pool for each in found]
    unknown = sorted(set(names) - set(known_pools()))
    if unknown:
        end(f"there is no pool {', '.join(unknown)}", code=USAGE)
    if len(set(names)) < len(names):
        end("a pool is named twice", code=USAGE)
    return found
