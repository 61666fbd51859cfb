"""Looking on while a shop is under faults, and waiting until it has come to rest."""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pika
from pymongo.errors import PyMongoError

from domain.events.models import OUTBOX
from domain.inventory.models import HOLDS
from domain.inventory.rules import HELD
from domain.jobs.models import JOBS
from domain.jobs.rules import FINAL
from ops.books import Store, below_zero
from ops.soak.background import Repeated

#: Seconds between two looks.
LOOK = 0.5


class Lookout(Repeated):
    """Looks at the stock again and again while it is open: `seen` has what was ever below zero."""

    def __init__(self, database: Store) -> None:
        super().__init__(every=LOOK)
        self.seen: list[str] = []
        self._database = database

    def _look(self) -> None:
        with suppress(PyMongoError):  # it is away at times: that is the point
            self.seen += [line for line in below_zero(self._database) if line not in self.seen]


def leftovers(database: Store) -> list[str]:
    """What is still to be done: while there is any, more may change."""
    counts: dict[str, tuple[str, dict[str, Any]]] = {
        "jobs queued or running": (JOBS, {"state": {"$nin": list(FINAL)}}),
        "holds held": (HOLDS, {"state": HELD}),
        "transactions with unpublished events": (OUTBOX, {}),
    }
    found = {what: database[name].count_documents(query) for what, (name, query) in counts.items()}
    return [f"left over: {count} {what}" for what, count in found.items() if count]


def wait_until_settled(database: Store, *, seconds: float) -> float:
    """Returns when nothing is left over, or the time is over; answers the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with suppress(PyMongoError):  # it may just have been started
            if not leftovers(database):
                break
        time.sleep(LOOK)
    return round(time.monotonic() - began, 2)


def waiting_messages(url: str, *, pools: Iterable[str], version: str, seconds: float = 10.0) -> list[str]:
    """Queues with messages that nobody takes, those of unusable messages included; waits a little for none.

    For classic queues of that version.
    """
    queues = [f"{pool}.v{version}{kind}" for pool in pools for kind in ("", ".XQ")]
    deadline = time.monotonic() + seconds
    while waiting := [f"{count} messages wait in {name}" for name, count in _ready(url, queues) if count]:
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK)
    return waiting


def _ready(url: str, queues: Iterable[str]) -> list[tuple[str, int]]:
    with pika.BlockingConnection(pika.URLParameters(url)) as amqp:
        channel = amqp.channel()
        return [(name, channel.queue_declare(name, passive=True).method.message_count) for name in queues]
