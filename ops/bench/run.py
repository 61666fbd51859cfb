"""The cases, round by round: each measures one thing on what is already up, and adds to the figures."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from ops.bench import books, children, watch
from ops.bench.figures import Figures, mean_of_histogram, percentile
from ops.bench.platforms import Platform, Shape
from ops.fleet import free_port
from ops.servers.ports import LOOPBACK
from ops.servers.process import wait_until
from ops.stack import Stack

#: Cases in the order in which a round runs them.
CASES = ("spread", "hot", "accept", "one", "dramatiq", "store", "ledger", "empty")
#: What each platform is needed for.
NEEDS = {"main": {"spread", "hot", "store"}, "accept": {"accept", "ledger"}, "one": {"one"}}
#: What makes every batch one: the worker's, and the API's ledger writes.
BATCHES_OF_ONE = {"STOCKYARD_WORKERS_MAX_BATCH": "1", "STOCKYARD_JOBS_MAX_BATCH": "1"}
#: Different orders of one case.
ORDERS = 2000
#: A store is quiet that uses less than this share of a core for so many seconds; it is waited for so often.
QUIET_SHARE, QUIET_SECONDS, QUIET_TRIES = 0.15, 0.5, 40
#: Orders of one batch of the bare store, and threads that send plain Dramatiq's jobs.
STORE_BATCH, SENDERS = 50, 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how long."""

    rounds: int = 3
    seconds: float = 8.0
    warm_up: float = 1.0
    clients: int = 32
    skus: int = 1000
    jobs: int = 2000
    apis: int = 1
    workers: int = 1
    only: tuple[str, ...] = CASES


@dataclass(slots=True)
class Outcome:
    """What all rounds measured, and what they found wrong."""

    figures: Figures = field(default_factory=Figures)
    oversold: list[str] = field(default_factory=list)
    #: Orders that ended otherwise than reserved, by state.
    strays: dict[str, int] = field(default_factory=dict)


class Bench:
    """Runs a plan over a stack that is up."""

    def __init__(
        self, stack: Stack, urls: Mapping[str, str], plan: Plan, *, say: Callable[[str], None]
    ) -> None:
        self._stack = stack
        self._urls = dict(urls)
        self._plan = plan
        self._say = say
        self._platforms: dict[str, Platform] = {}
        self._skus = [f"BENCH-{number:05}" for number in range(plan.skus)]
        self._empty_url = ""
        self.outcome = Outcome()

    def run(self, folder: Path) -> Outcome:
        """All rounds. Raises FleetError, ChildError or StackError where something does not run."""
        with ExitStack() as closing:
            if not self._stack.mongo.managed:
                closing.callback(self._delete)
            for name, needed in NEEDS.items():
                if needed & set(self._plan.only):
                    self._open(name, folder, closing)
            if "empty" in self._plan.only:
                self._empty_url = closing.enter_context(_empty_api(folder))
            cases = {
                "spread": self._spread,
                "hot": self._hot,
                "accept": self._accept,
                "one": self._one,
                "dramatiq": self._dramatiq,
                "store": self._store,
                "ledger": self._ledger,
                "empty": self._empty,
            }
            for number in range(self._plan.rounds):
                for case in self._plan.only:
                    self._say(f"round {number + 1} of {self._plan.rounds}: {case}")
                    self._wait_until_quiet()
                    cases[case]()
        return self.outcome

    def _open(self, name: str, folder: Path, closing: ExitStack) -> None:
        self._say(f"starting {name}")
        shape = Shape(
            apis=self._plan.apis,
            workers=0 if name == "accept" else self._plan.workers,
            schedulers=0 if name == "accept" else 1,
        )
        settings = BATCHES_OF_ONE if name == "one" else {}
        platform = Platform(name, self._urls, shape=shape, folder=folder, settings=settings)
        closing.callback(platform.fleet.stop)
        platform.open(skus=self._skus, customers=self._plan.clients)
        self._platforms[name] = platform

    def _delete(self) -> None:
        """Leaves servers that are not ours as they were, once every process has stopped."""
        for platform in self._platforms.values():
            platform.delete()

    # -- the cases --

    def _spread(self) -> None:
        platform = self._platforms["main"]
        probes = [member.ready_url.replace("/healthz", "/metrics") for member in platform.fleet.workers]
        before = [watch.histogram(url, "stockyard_batch_size", batch="place") for url in probes]
        groups = self._groups(platform)
        used, had = watch.cpu_seconds(groups), self._operations(platform)
        answer = self._load(platform, "spread", make_orders(self._skus))
        for name, count in self._operations(platform).items():
            self._add(f"store_{name}_per_order", (count - had.get(name, 0)) / max(answer["total"], 1))
        for name, seconds in watch.cpu_seconds(groups).items():
            self._add(f"cpu_ms_{name}", (seconds - used[name]) * 1000 / max(answer["total"], 1))
        self._add("cpu_ms_client", answer["cpu_seconds"] * 1000 / max(answer["total"], 1))
        after = [watch.histogram(url, "stockyard_batch_size", batch="place") for url in probes]
        self._add("mean_batch", mean_of_histogram(_summed(before), _summed(after)))

    def _hot(self) -> None:
        self._load(self._platforms["main"], "hot", make_orders(self._skus[:1]))

    def _one(self) -> None:
        self._load(self._platforms["one"], "batch_of_one", make_orders(self._skus))

    def _accept(self) -> None:
        platform = self._platforms["accept"]
        answer = self._ask(
            platform.fleet.urls, platform.shop["tokens"], make_orders(self._skus), follow=False
        )
        self._add("accept_per_second", answer["done"] / answer["seconds"])
        self._add("accept_p99_ms", percentile(answer["latencies_ms"], 99))

    def _dramatiq(self) -> None:
        wanted = {"url": self._urls["STOCKYARD_RABBITMQ_URL"], "jobs": self._plan.jobs, "senders": SENDERS}
        answer = children.ask("plain_dramatiq", wanted)
        self._add("limit_dramatiq_jobs_per_second", answer["jobs"] / answer["seconds"])

    def _store(self) -> None:
        platform = self._platforms["main"]
        self._add("limit_store_orders_per_second", self._bare(platform, ledger=False))
        self._check(platform)

    def _ledger(self) -> None:
        self._add("limit_ledger_jobs_per_second", self._bare(self._platforms["accept"], ledger=True))

    def _bare(self, platform: Platform, *, ledger: bool) -> float:
        """Orders, or jobs of orders, that the store alone takes per second."""
        environment = platform.environment
        if ledger:
            # A database for itself, which the child drops: (c) finds its own as it left it.
            environment = environment | {"STOCKYARD_MONGO_DATABASE": f"{platform.mongo[1]}-ledger"}
        wanted = {"orders": make_orders(self._skus), "accounts": platform.shop["accounts"], "ledger": ledger}
        how = {"batch": STORE_BATCH, "seconds": self._plan.seconds / 2}
        answer = children.ask("bare_store", wanted | how, environment)
        return float(answer["orders"] / answer["seconds"])

    def _empty(self) -> None:
        how = {"follow": False, "path": "/empty", "seconds": self._plan.seconds / 2}
        answer = self._ask([self._empty_url], ["none"], make_orders(self._skus), **how)
        self._add("limit_empty_202_per_second", answer["done"] / answer["seconds"])

    # -- what they share --

    def _load(self, platform: Platform, name: str, orders: Sequence[Any]) -> dict[str, Any]:
        answer = self._ask(platform.fleet.urls, platform.shop["tokens"], orders)
        self._add(f"{name}_orders_per_second", answer["done"] / answer["seconds"])
        self._add(f"{name}_p50_ms", percentile(answer["latencies_ms"], 50))
        self._add(f"{name}_p99_ms", percentile(answer["latencies_ms"], 99))
        for state, count in answer["states"].items():
            if state != "reserved":
                self.outcome.strays[state] = self.outcome.strays.get(state, 0) + count
        self._check(platform)
        return answer

    def _ask(
        self, urls: Sequence[str], tokens: Sequence[str], orders: Sequence[Any], **other: Any
    ) -> dict[str, Any]:
        wanted = {"urls": urls, "tokens": tokens, "orders": orders, "clients": self._plan.clients}
        how = {"warm_up": self._plan.warm_up, "seconds": self._plan.seconds, "limit": 0}
        return dict(children.ask("client", wanted | how | {"follow": True, "path": "/v1/orders"} | other))

    def _check(self, platform: Platform) -> None:
        for memory in watch.rss_mb(member.pid for member in platform.fleet.workers):
            self._add("worker_rss_mb", memory)
        with books.store(*platform.mongo) as database:
            self.outcome.oversold += books.oversold(database)

    def _wait_until_quiet(self) -> None:
        """Until the store has done what the last case left it to do, as the marks of accepted jobs."""
        pids = {"store": [self._stack.mongo.pid] if self._stack.mongo.pid else []}
        for _ in range(QUIET_TRIES):
            used = watch.cpu_seconds(pids)["store"]
            time.sleep(QUIET_SECONDS)
            if watch.cpu_seconds(pids)["store"] - used < QUIET_SHARE * QUIET_SECONDS:
                return

    def _operations(self, platform: Platform) -> dict[str, int]:
        with books.store(*platform.mongo) as database:
            return books.operations(database)

    def _groups(self, platform: Platform) -> dict[str, list[int]]:
        fleet = platform.fleet
        servers = {server.slug: [server.pid] for server in self._stack.servers[:1] + self._stack.servers[2:]}
        own = {name: [pid for pid in pids if pid] for name, pids in servers.items()}
        return {
            "api": [each.pid for each in fleet.apis],
            "worker": [each.pid for each in fleet.workers],
            **{name: pids for name, pids in own.items() if pids},
        }

    def _add(self, name: str, value: float) -> None:
        self.outcome.figures.add(name, value)


def make_orders(skus: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The items of many orders: 1 to 3 lines of 1 to 3 units each; the same for the same SKUs."""
    chance = random.Random(1)
    return [
        [
            {"sku": sku, "quantity": chance.randint(1, 3)}
            for sku in chance.sample(skus, min(chance.randint(1, 3), len(skus)))
        ]
        for _ in range(ORDERS)
    ]


@contextmanager
def _empty_api(folder: Path) -> Iterator[str]:
    """The base URL of an empty API that runs meanwhile."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "empty.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.bench.empty_api", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://{LOOPBACK}:{port}"
            if not wait_until(lambda: _answers(f"{url}/healthz"), seconds=20):
                raise children.ChildError(f"the empty API did not start; see {log.name}")
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):  # noqa: S310 - our own loopback URL
            return True
    except (URLError, OSError):
        return False


def _summed(looks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(look.get(name, 0.0) for look in looks) for name in ("sum", "count")}
