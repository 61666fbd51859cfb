"""`/metrics`: what the processes counted, and how much waits in each pool's queue."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pymongo.errors import PyMongoError

from domain.bootstrap import Services
from domain.jobs.commands import pools
from domain.ports import QueueDepth
from domain.probe import registry

#: Seconds for which one look serves all scrapes.
FRESH = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waited at one moment. A pool whose queue could not be asked is missing."""

    depths: Mapping[str, QueueDepth]
    #: Seconds that the oldest queued job of each pool has waited; None where the store is away.
    ages: Mapping[str, float] | None


class Backlog:
    """Looks at the queues and the ledger, seldom."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looking = asyncio.Lock()
        self._found = Waiting({}, None)
        self._fresh_until = 0.0

    async def look(self) -> Waiting:
        """What waits; at most `FRESH` seconds old."""
        async with self._looking:
            if monotonic() >= self._fresh_until:
                self._found = Waiting(await self._depths(), await self._ages())
                self._fresh_until = monotonic() + FRESH
        return self._found

    async def _depths(self) -> dict[str, QueueDepth]:
        found = await asyncio.gather(*(self._services.queue.depth(pool) for pool in pools()))
        return {pool: depth for pool, depth in zip(pools(), found, strict=True) if depth is not None}

    async def _ages(self) -> dict[str, float] | None:
        try:
            since = [await self._services.jobs.oldest(pool) for pool in pools()]
        except PyMongoError:
            return None
        now = self._services.clock()
        return {
            pool: max(0.0, (now - at).total_seconds()) if at else 0.0
            for pool, at in zip(pools(), since, strict=True)
        }


class _Gauges(Collector):
    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily(
            "stockyard_queue_depth", "Messages ready in a pool's queue.", labels=["pool"]
        )
        consumers = GaugeMetricFamily(
            "stockyard_queue_consumers", "Consumers of a pool's queue.", labels=["pool"]
        )
        age = GaugeMetricFamily(
            "stockyard_oldest_queued_seconds", "Age of a pool's oldest queued job.", labels=["pool"]
        )
        for pool, found in self._waiting.depths.items():
            depth.add_metric([pool], found.ready)
            consumers.add_metric([pool], found.consumers)
        if self._waiting.ages is not None:
            for pool in sorted({*self._waiting.depths, *self._waiting.ages}):
                age.add_metric([pool], self._waiting.ages.get(pool, 0.0))
        return [depth, consumers, age]


async def metrics_text(backlog: Backlog) -> tuple[bytes, str]:
    """What `/metrics` answers, and its media type."""
    waiting = CollectorRegistry()
    waiting.register(_Gauges(await backlog.look()))
    return generate_latest(registry()) + generate_latest(waiting), CONTENT_TYPE_LATEST
