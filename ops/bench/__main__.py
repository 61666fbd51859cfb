"""`python -m ops.bench`: measures this machine, prints a table and, as the last line, one JSON object."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ops.bench import report, watch
from ops.bench.children import ChildError
from ops.bench.run import CASES, Bench, Plan
from ops.fleet import FleetError
from ops.servers import StackError
from ops.stack import Stack

NAME = "bench"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    plan = Plan()
    found = argparse.ArgumentParser(
        prog="python -m ops.bench",
        description="Orders per second and latencies on this machine, and the limits beside them.",
    )
    found.add_argument("--rounds", type=_positive, default=plan.rounds, help="of each case (%(default)s)")
    found.add_argument("--seconds", type=_seconds, default=plan.seconds, help="of one case (%(default)s)")
    found.add_argument("--clients", type=_positive, default=plan.clients, help="at once (%(default)s)")
    found.add_argument("--skus", type=_positive, default=plan.skus, help="of the spread case (%(default)s)")
    found.add_argument("--apis", type=_positive, default=plan.apis, help="API processes (%(default)s)")
    found.add_argument(
        "--workers", type=_positive, default=plan.workers, help="worker processes (%(default)s)"
    )
    found.add_argument("--only", type=_cases, default=CASES, help=f"some of {','.join(CASES)}")
    found.add_argument("--quick", action="store_true", help="one round of 2 s: a look, no measurement")
    found.add_argument(
        "--use-environment",
        action="store_true",
        help="the servers of STOCKYARD_*_URL, in a database and queues of its own, which it deletes again",
    )
    found.add_argument("--json-file", type=Path, help="writes the JSON there, too")
    return found


def plan_of(asked: argparse.Namespace) -> Plan:
    """What the arguments ask for."""
    quick, usual = asked.quick, Plan()
    return Plan(
        rounds=1 if quick else asked.rounds,
        seconds=min(asked.seconds, 2.0) if quick else asked.seconds,
        warm_up=0.5 if quick else usual.warm_up,
        jobs=500 if quick else usual.jobs,
        clients=asked.clients,
        skus=asked.skus,
        apis=asked.apis,
        workers=asked.workers,
        only=asked.only,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 after one line on standard error, or where stock was oversold."""
    asked = parser().parse_args(argv)
    plan, console = plan_of(asked), Console(stderr=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack(NAME, environ=None if asked.use_environment else own)
    machine = watch.machine()
    try:
        urls = stack.up(fresh=not asked.use_environment).as_env()
        bench = Bench(stack, urls, plan, say=lambda text: console.print(text, style="dim"))
        outcome = bench.run(stack.folder / "processes")
    except (StackError, FleetError, ChildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()
    Console().print(report.table(outcome, plan))
    text = json.dumps(report.document(outcome, plan, machine))
    if asked.json_file:
        asked.json_file.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 1 if outcome.oversold else 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:  # noqa: PLR2004 - an hour
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds up to 3600")
    return value


def _cases(text: str) -> tuple[str, ...]:
    asked = {name.strip() for name in text.split(",")}
    if unknown := asked - set(CASES):
        raise argparse.ArgumentTypeError(f"no such case: {', '.join(sorted(unknown))}")
    return tuple(case for case in CASES if case in asked)


if __name__ == "__main__":
    sys.exit(main())
