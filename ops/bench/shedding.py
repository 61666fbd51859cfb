"""`python -m ops.bench.shedding`: whether accepted work keeps its p99 when too much comes.

One API process accepts orders from as many clients as it has places, then from a crowd many times larger:
with load shedding, and with so many places that nothing is shed. Prints a table and, as the last line, one
JSON object; ends with 1 where the p99 of what is accepted from the crowd passes that of the calm case by more
than the factor `--at-most`.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.bench import children
from ops.bench.children import ChildError
from ops.bench.figures import percentile, tidy
from ops.bench.platforms import Platform, Shape
from ops.bench.run import make_orders
from ops.fleet import FleetError
from ops.servers import StackError
from ops.stack import Stack

SKUS = [f"BENCH-{number:05}" for number in range(100)]
#: Seconds that a refused client pauses, give or take a half: what the answer's `Retry-After` says.
RETRY_AFTER = 1.0
#: Places of a process that sheds nothing.
ENDLESS = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how long."""

    places: int
    crowd: int
    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Case:
    """One load on one platform."""

    name: str
    places: int
    clients: int


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where shedding does not keep the p99, or after one line on standard error."""
    asked = _parser().parse_args(argv)
    plan = Plan(asked.places, asked.crowd, asked.seconds, asked.rounds)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack("bench", environ=None if asked.use_environment else own)
    try:
        urls = stack.up(fresh=not asked.use_environment).as_env()
        found = measure(urls, plan, stack.folder / "processes")
    except (StackError, FleetError, ChildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()
    Console().print(_table(found))
    factor = found["crowd"]["p99_ms"] / found["calm"]["p99_ms"] if found["calm"]["p99_ms"] else 0.0
    print(json.dumps({**found, "places": plan.places, "p99_factor": tidy(factor)}))
    return 1 if asked.at_most and factor > asked.at_most else 0


def measure(urls: Mapping[str, str], plan: Plan, folder: Path) -> dict[str, dict[str, float]]:
    """The figures of each case. Raises FleetError and ChildError where something does not run."""
    cases = (
        Case("calm", plan.places, plan.places),
        Case("crowd", plan.places, plan.crowd),
        Case("unshed", ENDLESS, plan.crowd),
    )
    return {case.name: _figures(urls, case, plan, folder) for case in cases}


def _figures(urls: Mapping[str, str], case: Case, plan: Plan, folder: Path) -> dict[str, float]:
    with _platform(urls, case, folder) as platform:
        question = {
            "url": platform.fleet.urls[0],
            "tokens": platform.shop["tokens"],
            "orders": make_orders(SKUS),
            "clients": case.clients,
            "warm_up": 2.0,
            "seconds": plan.seconds,
            "pause": RETRY_AFTER,
        }
        rounds: list[dict[str, Any]] = [children.ask("crowd", question) for _ in range(plan.rounds)]
    latencies = [each for one in rounds for each in one["latencies_ms"]]
    seconds = plan.seconds * plan.rounds
    return {
        "clients": case.clients,
        "accepted_per_second": tidy(sum(one["accepted"] for one in rounds) / seconds),
        "refused_per_second": tidy(sum(one["refused"] for one in rounds) / seconds),
        "p50_ms": tidy(percentile(latencies, 50)),
        "p99_ms": tidy(percentile(latencies, 99)),
        "refused_p99_ms": tidy(percentile([each for one in rounds for each in one["refusals_ms"]], 99)),
    }


@contextmanager
def _platform(urls: Mapping[str, str], case: Case, folder: Path) -> Iterator[Platform]:
    """One API, and nobody who does the work: what is measured is what the API does."""
    settings = {"STOCKYARD_API_MAX_CONCURRENCY": str(case.places), "STOCKYARD_API_MAX_STORE_WAIT": "1h"}
    shape = Shape(apis=1, workers=0, schedulers=0)
    platform = Platform(f"shed-{case.name}", urls, shape=shape, folder=folder, settings=settings)
    try:
        platform.open(skus=SKUS, customers=4)
        yield platform
    finally:
        platform.fleet.stop()


def _table(found: Mapping[str, Mapping[str, float]]) -> Table:
    columns = [name.replace("_per_second", "/s").replace("_", " ") for name in next(iter(found.values()))]
    table = Table("", *columns, title="Load shedding: orders accepted by one API process")
    for name, figures in found.items():
        table.add_row(name, *(f"{value:g}" for value in figures.values()))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.shedding",
        description="Whether load shedding keeps the p99 of what is accepted.",
    )
    parser.add_argument("--places", type=int, default=16, help="of the API process (%(default)s)")
    parser.add_argument("--crowd", type=int, default=256, help="clients at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one case (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each case (%(default)s)")
    parser.add_argument("--at-most", type=float, help="fails where the p99 grows by more than this factor")
    parser.add_argument("--use-environment", action="store_true", help="the servers of STOCKYARD_*_URL")
    return parser


if __name__ == "__main__":
    sys.exit(main())
