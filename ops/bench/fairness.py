"""`python -m ops.bench.fairness`: what one account's flood does to another's orders.

One account sends thousands of orders as fast as they are accepted, another sends one every 100 ms: without
turns, and with them. Prints a table and, as the last line, one JSON object; ends with 1 where turns better
the other's p99 beside the flood by less than the factor `--at-least`.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
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

SKUS = [f"BENCH-{number:05}" for number in range(1000)]
#: The cases, by name, with what an account may have in the queue.
CASES = {"no turns": 0, "turns": 100}
#: The longest that one case may take, in seconds.
PATIENCE = 1800.0


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where turns do not help enough, or after one line on standard error."""
    asked = _parser().parse_args(argv)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack("bench-fairness", environ=None if asked.use_environment else own)
    try:
        urls = stack.up(fresh=not asked.use_environment).as_env()
        found = {
            name: _figures(urls, name, share, asked, stack.folder / "processes")
            for name, share in CASES.items()
        }
    except (StackError, FleetError, ChildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()
    Console().print(_table(found))
    with_turns = found["turns"]["beside_p99_ms"]
    factor = found["no turns"]["beside_p99_ms"] / with_turns if with_turns else 0.0
    print(json.dumps({**found, "flood": asked.flood, "p99_better_by": tidy(factor)}))
    return 1 if asked.at_least and factor < asked.at_least else 0


def _figures(
    urls: Mapping[str, str], name: str, share: int, asked: argparse.Namespace, folder: Path
) -> dict[str, float]:
    # Nothing is shed: it is the queue that is measured.
    settings = {
        "STOCKYARD_POOLS_FAIR_SHARE": str(share),
        "STOCKYARD_API_MAX_STORE_WAIT": "1h",
        "STOCKYARD_API_MAX_CONCURRENCY": "100000",
    }
    shape = Shape(apis=1, workers=1, schedulers=1)
    label = name.replace(" ", "-")
    platform = Platform(f"fair-{label}", urls, shape=shape, folder=folder, settings=settings)
    platform.open(skus=SKUS, customers=2)
    try:
        question = {
            "url": platform.fleet.urls[0],
            "tokens": platform.shop["tokens"],
            "orders": make_orders(SKUS),
            "flood": asked.flood,
            "senders": asked.senders,
            "every": 0.1,
            "alone": asked.alone,
        }
        answer: dict[str, Any] = children.ask("flood", question, patience=PATIENCE)
    finally:
        platform.fleet.stop()
    return {
        "alone_p50_ms": tidy(percentile(answer["alone_ms"], 50)),
        "alone_p99_ms": tidy(percentile(answer["alone_ms"], 99)),
        "beside_p50_ms": tidy(percentile(answer["beside_ms"], 50)),
        "beside_p99_ms": tidy(percentile(answer["beside_ms"], 99)),
        "flood_accepted_s": tidy(answer["accepted_in"]),
        "flood_placed_s": tidy(answer["flood_in"]),
    }


def _table(found: Mapping[str, Mapping[str, float]]) -> Table:
    columns = [name.replace("_", " ") for name in next(iter(found.values()))]
    table = Table("", *columns, title="Fairness: orders of an account beside another's flood")
    for name, figures in found.items():
        table.add_row(name, *(f"{value:g}" for value in figures.values()))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.fairness", description="What one account's flood does to another's orders."
    )
    parser.add_argument("--flood", type=int, default=5000, help="orders of the flood (%(default)s)")
    parser.add_argument("--senders", type=int, default=32, help="that send them at once (%(default)s)")
    parser.add_argument("--alone", type=float, default=5.0, help="seconds before it (%(default)s)")
    parser.add_argument("--at-least", type=float, help="fails where turns better the p99 by less")
    parser.add_argument("--use-environment", action="store_true", help="the servers of STOCKYARD_*_URL")
    return parser


if __name__ == "__main__":
    sys.exit(main())
