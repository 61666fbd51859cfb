"""A shop on three nodes of RabbitMQ with quorum queues, of which those that matter most are killed.

Killed with SIGKILL under load, one after the other: the node with the leader of the queue `orders`, the node
that most clients are connected to, and once more the leader's. Each comes back before the next one goes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from domain.jobs.models import JOBS
from domain.orders.commands import PlaceOrder
from ops import books
from ops.bench import children
from ops.environment import settings_of
from ops.fleet import Fleet
from ops.servers.rabbitmq_cluster import Cluster, Node
from ops.soak.clients import Customers
from ops.soak.lookout import LOOK, Lookout, leftovers, wait_until_settled
from ops.soak.pace import find_rate
from ops.soak.verdict import tally, verdict
from ops.stack import Stack

QUEUE, VERSION = "orders.quorum.v{version}", "3"
SETTINGS = {
    "STOCKYARD_MONGO_DATABASE": "cluster",
    "STOCKYARD_RABBITMQ_QUEUE_TYPE": "quorum",
    "STOCKYARD_RABBITMQ_QUEUE_VERSION": VERSION,
}
#: Seconds of load before the first kill and after the last return, that a node stays away, and that it has
#: for catching up before the next kill.
QUIET, AWAY, BACK = 10.0, 8.0, 10.0
#: Seconds after a kill in which its gaps are looked for.
WITHIN = 20.0
#: SKUs, and units of each: none sells out.
SKUS, PLENTY = 20, 1_000_000


@dataclass(frozen=True, slots=True)
class Kill:
    """One node that was killed, and what orders met meanwhile; milliseconds."""

    #: Second of the run.
    at: float
    node: str
    why: str
    #: The longest time in which no order was accepted, by the API, and ended, by a worker.
    accept_gap_ms: float
    consume_gap_ms: float
    #: Orders that RabbitMQ did not confirm at once, and from the first of them to the last.
    unconfirmed: int
    publish_gap_ms: float
    #: The longest that an order waited for its end.
    longest_ms: float


@dataclass(slots=True)
class ClusterSummary:
    """What was done, and what came of it. `violations` is empty where nothing was lost or doubled."""

    formed_after: float = 0.0
    #: Visits per second, of customers.
    rate: float = 0.0
    accepted: int = 0
    replayed: int = 0
    retried: int = 0
    kills: list[Kill] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    settled_after: float = 0.0
    violations: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return asdict(self)


def run_cluster(
    stack: Stack, environ: Mapping[str, str], *, settings: Mapping[str, str], clients: int, rate: float | None
) -> ClusterSummary:
    """With `rate` visits per second; where it is None, as many as the shop bears, which is found first.

    Takes two to three minutes, and 130 MB for each node. Leaves no node behind.

    `stack` has everything but RabbitMQ; `environ` is what the nodes are started with. Raises StackError and
    FleetError where something does not start.
    """
    summary = ClusterSummary()
    secrets = {"amqp_user": "stockyard", "amqp_password": "cluster", "cookie": "STOCKYARDSOAK"}
    cluster = Cluster(stack.folder / "cluster", environ, secrets=secrets)
    environment = stack.urls.as_env() | dict(settings) | SETTINGS | {"STOCKYARD_RABBITMQ_URL": cluster.url}
    try:
        began = time.monotonic()
        cluster.up()
        summary.formed_after = round(time.monotonic() - began, 1)
        _shop(cluster, environment, summary, folder=stack.folder, clients=clients, rate=rate)
    finally:
        cluster.down()
    return summary


def _shop(
    cluster: Cluster,
    environment: Mapping[str, str],
    summary: ClusterSummary,
    *,
    folder: Path,
    clients: int,
    rate: float | None,
) -> None:
    stock = {f"SOAK-{n:02}": PLENTY for n in range(SKUS)}
    shop = children.ask("shop", {"stock": stock, "customers": clients}, environment)
    url, name = environment["STOCKYARD_MONGO_URL"], environment["STOCKYARD_MONGO_DATABASE"]
    pools, logs = {"orders": 2, "inventory": 1}, folder / "processes" / "cluster"
    with (
        Fleet(environment, folder=logs, apis=2, pools=pools, schedulers=1) as fleet,
        books.store(url, name) as database,
        Lookout(database) as lookout,
    ):
        customers = Customers(fleet.urls, shop["tokens"], seed=1)
        if rate is None:
            hold_time = settings_of(environment).orders.hold_time
            rate = find_rate(customers, sorted(stock), database, hold_time=hold_time)
        summary.rate = rate
        customers.start(sorted(stock), rate=rate)
        moments = _kill_in_turn(cluster, began=customers.began)
        customers.stop()
        summary.accepted, summary.replayed = len(customers.accepted), customers.replayed
        summary.retried = customers.retried
        summary.settled_after = wait_until_settled(database, seconds=120)
        summary.kills = [_kill_of(database, *each) for each in moments]
        _, wrong = verdict(database, customers.accepted)
        summary.jobs = tally(database)
        summary.violations += [
            *customers.violations, *leftovers(database), *_waiting(cluster), *wrong,
            *books.oversold(database), *lookout.seen,
            *(f"{each.name} ended by itself" for each in fleet.members if not each.running()),
        ]  # fmt: skip


def _kill_in_turn(cluster: Cluster, *, began: float) -> list[tuple[float, str, str, datetime]]:
    """Second, node, why, and when, of each kill. All nodes are up at the end."""
    moments = []
    time.sleep(QUIET)
    for why in ("leader of orders", "most clients", "leader of orders"):
        victim = _victim(cluster, why)
        moments.append((round(time.monotonic() - began, 1), victim.node, why, datetime.now(UTC)))
        victim.kill()
        time.sleep(AWAY)
        victim.start()
        time.sleep(BACK)
    time.sleep(QUIET)
    return moments


def _victim(cluster: Cluster, why: str) -> Node:
    return cluster.busiest() if why == "most clients" else cluster.leader(QUEUE.format(version=VERSION))


def _kill_of(database: books.Store, at: float, node: str, why: str, when: datetime) -> Kill:
    near = {"$gte": when - timedelta(seconds=1), "$lt": when + timedelta(seconds=WITHIN)}
    fields = {"created_at": 1, "finished_at": 1, "dispatched_at": 1}
    rows = database[JOBS].find({"kind": PlaceOrder.kind, "created_at": near}, fields)
    return Kill(at, node, why, **gaps(list(rows)))


def gaps(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the jobs of one kind that were accepted around a kill. Those that never ended are told elsewhere."""
    unconfirmed = [row["created_at"] for row in rows if row["dispatched_at"] != row["created_at"]]
    ended = [row for row in rows if row["finished_at"] is not None]
    waits = [row["finished_at"] - row["created_at"] for row in ended]
    return {
        "accept_gap_ms": _longest(sorted(row["created_at"] for row in rows)),
        "consume_gap_ms": _longest(sorted(row["finished_at"] for row in ended)),
        "unconfirmed": len(unconfirmed),
        "publish_gap_ms": _ms(max(unconfirmed) - min(unconfirmed)) if unconfirmed else 0.0,
        "longest_ms": _ms(max(waits, default=timedelta())),
    }


def _longest(moments: Sequence[datetime]) -> float:
    between = (later - earlier for earlier, later in pairwise(moments))
    return _ms(max(between, default=timedelta()))


def _ms(span: timedelta) -> float:
    return round(span.total_seconds() * 1000, 1)


def _waiting(cluster: Cluster) -> list[str]:
    """Messages that nobody takes, those of unusable messages included; waits a little for none."""
    deadline = time.monotonic() + 30
    while found := {name: count for name, count in cluster.waiting().items() if count}:
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK)
    return [f"{count} messages wait in {name}" for name, count in sorted(found.items())]
