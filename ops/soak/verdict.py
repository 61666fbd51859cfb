"""Whether every accepted order ended, once."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Self

from pymongo.errors import PyMongoError

from domain.events.models import EVENTS
from domain.inventory.models import HOLDS
from domain.jobs.models import JOBS
from domain.jobs.rules import FAILED, FINAL, SUCCEEDED
from domain.orders.commands import PlaceOrder
from domain.orders.models import ORDERS
from domain.orders.rules import REJECTED, RESERVED
from ops.bench.books import Store, below_zero

#: Seconds between two looks.
LOOK = 0.5
#: The most lines of one kind that a verdict has.
FEW = 5


class Lookout(AbstractContextManager["Lookout"]):
    """Looks at the stock again and again while it is open: `seen` has what was ever below zero."""

    def __init__(self, database: Store) -> None:
        self.seen: list[str] = []
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        """Begins."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(LOOK):
            with suppress(PyMongoError):  # it is away at times: that is the point
                self.seen += below_zero(self._database)


def wait_until_final(database: Store, *, seconds: float) -> float:
    """Returns when no job is open, or the time is over; answers the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with suppress(PyMongoError):  # it may just have been started
            if database[JOBS].find_one({"state": {"$nin": list(FINAL)}}, {"_id": 1}) is None:
                break
        time.sleep(LOOK)
    return round(time.monotonic() - began, 2)


def verdict(database: Store, accepted: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Orders by state, and what is wrong: lost, doubled, stuck, told wrongly. `accepted` has ids by key."""
    rows = database[JOBS].find({"kind": PlaceOrder.kind}, {"payload": 0, "history": 0})
    jobs = {row["_id"]: row for row in rows}
    orders = {order["_id"]: order for order in database[ORDERS].find({}, {"lines": 0, "address": 0})}
    wrong = [
        *_few("accepted, and not in the ledger", set(accepted.values()) - jobs.keys()),
        *_few("one key, two orders", _keys_used_twice(jobs.values())),
        *_few("accepted under another key", _under_other_keys(jobs, accepted)),
        *_few("never ended", (name for name, job in jobs.items() if job["state"] not in FINAL)),
        *_few("ended as it should not", _odd_endings(jobs, orders)),
        *_few("an order without a job", orders.keys() - jobs.keys()),
        *_holds(database, orders),
        *_events(database, orders),
    ]
    return dict(Counter(order["state"] for order in orders.values())), wrong


def _keys_used_twice(jobs: Iterable[Mapping[str, Any]]) -> list[str]:
    used = Counter((job["owner"], job["key"]) for job in jobs)
    return [key for (_, key), count in used.items() if count > 1]


def _under_other_keys(jobs: Mapping[str, Any], accepted: Mapping[str, str]) -> list[str]:
    return [key for key, name in accepted.items() if name in jobs and jobs[name]["key"] != key]


def _odd_endings(jobs: Mapping[str, Any], orders: Mapping[str, Any]) -> list[str]:
    """A job that succeeded has a reserved order, one that failed a rejected one; nothing else may be here."""
    expected = {SUCCEEDED: RESERVED, FAILED: REJECTED}
    odd = []
    for name, job in jobs.items():
        state = orders.get(name, {}).get("state")
        if job["state"] in FINAL and expected.get(job["state"]) != state:
            odd.append(f"{name} (job {job['state']}, order {state})")
    return odd


def _holds(database: Store, orders: Mapping[str, Any]) -> list[str]:
    reserved = {name for name, order in orders.items() if order["state"] == RESERVED}
    held = {hold["order_id"] for hold in database[HOLDS].find({}, {"order_id": 1})}
    return [
        *_few("reserved without a hold", reserved - held),
        *_few("held without an order", held - reserved),
    ]


def _events(database: Store, orders: Mapping[str, Any]) -> list[str]:
    told: Counter[str] = Counter()
    seqs: dict[str, list[int]] = {}
    for event in database[EVENTS].find({}, {"account_id": 1, "seq": 1, "type": 1, "subject": 1}):
        seqs.setdefault(event["account_id"], []).append(event["seq"])
        told[f"{event['subject']} {event['type']}"] += 1
    gaps = [account for account, found in seqs.items() if sorted(found) != list(range(1, len(found) + 1))]
    expected = Counter(f"{name} order.{order['state']}" for name, order in orders.items())
    return [
        *_few("gaps in the events of", gaps),
        *_few("told never, or twice", ((expected - told) + (told - expected)).keys()),
    ]


def _few(what: str, names: Iterable[str]) -> list[str]:
    found = sorted(names)
    more = [f"{what}: {len(found) - FEW} more"] if len(found) > FEW else []
    return [f"{what}: {name}" for name in found[:FEW]] + more
