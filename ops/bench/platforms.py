"""The platforms that are measured: the same stack, each with a database, queues and processes of its own."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pika
from pymongo import MongoClient

from ops.bench import children
from ops.fleet import Fleet

#: What every measured process runs with: nothing expires, nothing waits for its turn, and logs stay quiet.
SETTINGS = {
    "STOCKYARD_LOG_LEVEL": "WARNING",
    "STOCKYARD_AUTH_ACCESS_TTL": "12h",
    "STOCKYARD_ORDERS_HOLD_TIME": "24h",
    "STOCKYARD_POOLS_FAIR_SHARE": "1000000",
}
#: Units of each SKU: more than any run takes.
PLENTY = 100_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of what a platform has."""

    apis: int = 1
    workers: int = 1
    schedulers: int = 1


class Platform:
    """One platform over the stack's URLs."""

    def __init__(
        self,
        name: str,
        urls: Mapping[str, str],
        *,
        shape: Shape,
        folder: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        # Beside whatever else lives on the same servers.
        self._queues = 1_000_000 + secrets.randbelow(1_000_000_000)
        self.environment = {
            **urls,
            **SETTINGS,
            "STOCKYARD_MONGO_DATABASE": f"bench-{name}-{self._queues}",
            "STOCKYARD_RABBITMQ_QUEUE_TYPE": "classic",
            "STOCKYARD_RABBITMQ_QUEUE_VERSION": str(self._queues),
            **(settings or {}),
        }
        self.shop: dict[str, Any] = {"accounts": [], "tokens": []}
        pools = {"orders": shape.workers} if shape.workers else {}
        self.fleet = Fleet(
            self.environment, folder=folder / name, apis=shape.apis, pools=pools, schedulers=shape.schedulers
        )

    @cached_property
    def mongo(self) -> tuple[str, str]:
        """The store's URL and the name of the database."""
        return self.environment["STOCKYARD_MONGO_URL"], self.environment["STOCKYARD_MONGO_DATABASE"]

    def open(self, *, skus: list[str], customers: int) -> None:
        """Starts the processes over a shop with plenty of each SKU."""
        stock = dict.fromkeys(skus, PLENTY)
        self.shop = children.ask("shop", {"stock": stock, "customers": customers}, self.environment)
        self.fleet.start()

    def delete(self) -> None:
        """Deletes database and queues of the stopped platform: slow, and of use on servers of others only."""
        url, name = self.mongo
        client: MongoClient[dict[str, Any]]
        with MongoClient(url) as client:
            client.drop_database(name)
        with pika.BlockingConnection(pika.URLParameters(self.environment["STOCKYARD_RABBITMQ_URL"])) as amqp:
            channel = amqp.channel()
            for pool in ("orders", "inventory"):
                channel.queue_delete(f"{pool}.v{self._queues}")
                channel.queue_delete(f"{pool}.v{self._queues}.XQ")
