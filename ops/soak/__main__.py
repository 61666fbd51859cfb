"""`python -m ops.soak`: many orders with an eye on memory, a shop under faults, and a cluster of RabbitMQ."""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from ops import books
from ops.bench import children
from ops.bench.figures import percentile
from ops.bench.platforms import SETTINGS, Platform, Shape
from ops.bench.run import make_orders
from ops.fleet import Fleet, FleetError
from ops.servers import StackError
from ops.signals import INTERRUPTED, end_on_signals, uninterrupted
from ops.soak.cluster import run_cluster
from ops.soak.faults import SHORT_HOLDS, run_faults
from ops.soak.hooks import Hooks
from ops.soak.memory import Memory
from ops.soak.plan import FULL_PLAN, plan_of
from ops.soak.postbox import Postbox
from ops.soak.summary import Summary
from ops.soak.verdict import verdict
from ops.stack import Stack

NAME = "soak"
SKUS = [f"SOAK-{number:05}" for number in range(1000)]
#: Seconds that a run may take for each order before it is given up.
SECONDS_PER_ORDER = 0.1
#: Of the fleet that is under faults: waits that are short, so that a run says something within minutes.
UNDER_FAULTS = {
    "STOCKYARD_JOBS_LEASE": "10s",
    "STOCKYARD_JOBS_RESEND_EMPTY_AFTER": "5s",
    "STOCKYARD_JOBS_BACKOFF": "200ms",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m ops.soak", description=__doc__.partition(": ")[2])
    found.add_argument(
        "--orders", type=_number(int), default=50_000, help="of the first part; 0 skips it (%(default)s)"
    )
    found.add_argument(
        "--clients", type=_number(int, least=1), default=32, help="of both parts (%(default)s)"
    )
    found.add_argument("--seed", type=int, default=1, help="of the faults (%(default)s)")
    found.add_argument(
        "--kills",
        type=_number(int),
        default=FULL_PLAN["kill worker"],
        help="of workers of orders (%(default)s)",
    )
    found.add_argument(
        "--fault-seconds",
        type=_number(float),
        default=240.0,
        help="of the second part; 0 skips it (%(default)s)",
    )
    found.add_argument(
        "--rate",
        type=_number(float, least=0.1),
        help="visits per second of customers under faults; what this machine bears, which is found first",
    )
    found.add_argument(
        "--no-cluster", action="store_true", help="leave out the third part, the nodes of RabbitMQ"
    )
    found.add_argument("--only-cluster", action="store_true", help="nothing else, some three minutes")
    return found


def _number(kind: Callable[[str], float], *, least: float = 0) -> Callable[[str], float]:
    def number(text: str) -> float:
        found = kind(text)
        if not least <= found < math.inf:
            msg = f"{text} is not at least {least:g}"
            raise argparse.ArgumentTypeError(msg)
        return found

    return number


def steady(stack: Stack, *, orders: int, clients: int) -> dict[str, Any]:
    """Orders as fast as one API and one worker take them; memory, stock and every order are checked."""
    shape = Shape(apis=1, workers=1, schedulers=1)
    platform = Platform("steady", stack.urls.as_env(), shape=shape, folder=stack.folder / "processes")
    try:
        platform.open(skus=SKUS, customers=clients)
        wanted = {"urls": platform.fleet.urls, "tokens": platform.shop["tokens"], "orders": make_orders(SKUS)}
        seconds = 60 + orders * SECONDS_PER_ORDER
        how = {"clients": clients, "warm_up": 0, "seconds": seconds, "limit": orders, "follow": True}
        began = time.monotonic()
        with Memory(platform.fleet.members) as memory:
            answer = children.ask("client", wanted | how | {"path": "/v1/orders"}, patience=seconds + 60)
        took = time.monotonic() - began
        told, wrong = memory.verdict()
        with books.store(*platform.mongo) as database:
            states, lost = verdict(database, {})
            short = books.oversold(database)
    finally:
        platform.fleet.stop()
    if states != {"reserved": orders}:
        wrong.append(f"{orders} orders were asked for, there are {states}")
    return {
        "orders": answer["total"],
        "seconds": round(took, 1),
        "orders_per_second": round(answer["total"] / took, 1),
        "p50_ms": percentile(answer["latencies_ms"], 50),
        "p99_ms": percentile(answer["latencies_ms"], 99),
        "memory_mb": told,
        "oversold": len(short),
        "violations": wrong + lost + short,
    }


def under_faults(
    stack: Stack, *, seed: int, seconds: float, kills: int, clients: int, rate: float | None
) -> Summary:
    """The long fault schedule over two APIs, four workers and two schedulers; mail and webhooks are sent."""
    database = {"STOCKYARD_MONGO_DATABASE": "faults", "STOCKYARD_RABBITMQ_QUEUE_VERSION": "2"}
    pools = {"orders": 2, "inventory": 1, "notifications": 1}
    plan = plan_of(FULL_PLAN | {"kill worker": kills})
    folder = stack.folder / "processes" / "faults"
    with Postbox() as postbox, Hooks(seed=seed) as hooks:
        environment = {
            **stack.urls.as_env(), **SETTINGS, **UNDER_FAULTS, **SHORT_HOLDS, **database, **postbox.settings,
            **hooks.settings,
        }  # fmt: skip
        with Fleet(environment, folder=folder, apis=2, pools=pools, schedulers=2) as fleet:
            summary = run_faults(
                fleet, stack, environment=environment, seed=seed, seconds=seconds, plan=plan, clients=clients,
                rate=rate, postbox=postbox, hooks=hooks,
            )  # fmt: skip
    summary.violations += missed(summary)
    return summary


def missed(summary: Summary) -> list[str]:
    """What is wrong where most of the killed workers had nothing in their hands: then the run says little."""
    hit, kills = summary.worker_kills_in_batch, summary.worker_kills
    return [] if 2 * hit >= kills else [f"only {hit} of {kills} killed workers had a batch in hand"]


def main(argv: Sequence[str] | None = None) -> int:
    """0; 130 after Ctrl-C; 1 where something was lost, doubled, oversold, stuck or grew, or did not start."""
    asked = parser().parse_args(argv)
    end_on_signals()
    say = Console(stderr=True).print
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack, told = Stack(NAME, environ=own), dict[str, Any]()
    try:
        stack.up(fresh=True)
        if asked.orders and not asked.only_cluster:
            say(f"{asked.orders:,} orders, {asked.clients} clients")
            told["steady"] = steady(stack, orders=asked.orders, clients=asked.clients)
            say(json.dumps(told["steady"]))
        if asked.fault_seconds and not asked.only_cluster:
            say(f"{asked.fault_seconds:g} s of faults, seed {asked.seed}")
            how = {"seed": asked.seed, "seconds": asked.fault_seconds, "kills": asked.kills}
            told["faults"] = under_faults(stack, **how, clients=asked.clients, rate=asked.rate).as_dict()
            say(f"{told['faults']['rate']:g} visits per second")
        if asked.only_cluster or not asked.no_cluster:
            say("three nodes of RabbitMQ, three of them killed in turn")
            short = SETTINGS | UNDER_FAULTS | SHORT_HOLDS
            cluster = run_cluster(stack, own, settings=short, clients=asked.clients, rate=asked.rate)
            told["cluster"] = cluster.as_dict()
            say(f"{cluster.rate:g} visits per second")
    except KeyboardInterrupt:
        print("soak: interrupted; nothing is left running", file=sys.stderr)
        return INTERRUPTED
    except (StackError, FleetError, children.ChildError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    finally:
        with uninterrupted():
            stack.down()
    violations = [line for part in told.values() for line in part["violations"]]
    for line in violations:
        say(line, style="red")
    print(json.dumps({**told, "ok": not violations}))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
