"""`/metrics`: what the processes counted, and how the pools are."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pymongo.errors import PyMongoError

from domain.bootstrap import Services
from domain.jobs.commands import pools
from domain.jobs.pool_reports import PoolReport
from domain.ports import QueueDepth
from domain.probe import registry

#: Seconds for which one look serves all scrapes.
FRESH = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waited at one moment. A pool whose queue could not be asked is missing."""

    depths: Mapping[str, QueueDepth]
    #: By pool; None where the store is away.
    reports: Mapping[str, PoolReport] | None


class Backlog:
    """Looks at the queues and the ledger, seldom."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looking = asyncio.Lock()
        self._found = Waiting({}, None)
        self._fresh_until = 0.0

    async def look(self) -> Waiting:
        """What waits; at most `FRESH` seconds old, or older where a look is dear."""
        async with self._looking:
            if monotonic() >= self._fresh_until:
                self._found = Waiting(await self._depths(), await self._reports())
                self._fresh_until = monotonic() + FRESH
        return self._found

    async def _depths(self) -> dict[str, QueueDepth]:
        found = await asyncio.gather(*(self._services.queue.depth(pool) for pool in pools()))
        return {pool: depth for pool, depth in zip(pools(), found, strict=True) if depth is not None}

    async def _reports(self) -> dict[str, PoolReport] | None:
        try:
            return {each.pool: each for each in await self._services.pools.look()}
        except PyMongoError:
            return None


@dataclass(frozen=True, slots=True)
class _Figure:
    """A gauge that each pool's report has a value for, or None."""

    name: str
    help: str
    value: Callable[[PoolReport], float | None]


_FIGURES = (
    _Figure("oldest_queued_seconds", "Age of a pool's oldest queued job.", lambda of: of.oldest or 0.0),
    _Figure("pool_waiting", "Jobs that wait for a pool, in RabbitMQ and the ledger.", lambda of: of.depth),
    _Figure("pool_in_flight", "Jobs that a pool's workers have in hand.", lambda of: of.in_flight),
    _Figure("pool_workers", "A pool's worker processes that live and take jobs.", lambda of: of.workers),
    _Figure("pool_threads", "Threads of a pool's workers.", lambda of: of.threads),
    _Figure("pool_paused", "1 while a pool is paused.", lambda of: of.paused),
    _Figure("pool_busy_ratio", "Share of its time that a pool was busy, last minute.", lambda of: of.busy),
    _Figure("pool_arrivals_per_second", "Jobs accepted for a pool, last minute.", lambda of: of.arrivals),
    _Figure("pool_completions_per_second", "Jobs a pool ended, last minute.", lambda of: of.completions),
    _Figure("pool_worker_rate", "Jobs a second of one worker that never waits.", lambda of: of.worker_rate),
    _Figure("pool_target_seconds", "What a pool's backlog is to drain within.", lambda of: of.target),
    _Figure(
        "pool_drain_seconds",
        "Seconds until a pool is empty; +Inf where it never will be, or nobody can tell.",
        lambda of: inf if of.drain is None else of.drain,
    ),
    _Figure("pool_recommended_workers", "Workers that keep a pool's target wait.", lambda of: of.recommended),
)


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
        for pool, found in self._waiting.depths.items():
            depth.add_metric([pool], found.ready)
            consumers.add_metric([pool], found.consumers)
        return [depth, consumers, *self._of_reports()]

    def _of_reports(self) -> Iterable[Metric]:
        for figure in _FIGURES:
            gauge = GaugeMetricFamily(f"stockyard_{figure.name}", figure.help, labels=["pool"])
            for pool, report in sorted((self._waiting.reports or {}).items()):
                value = figure.value(report)
                if value is not None:
                    gauge.add_metric([pool], value)
            yield gauge


async def metrics_text(backlog: Backlog) -> tuple[bytes, str]:
    """What `/metrics` answers, and its media type."""
    waiting = CollectorRegistry()
    waiting.register(_Gauges(await backlog.look()))
    return generate_latest(registry()) + generate_latest(waiting), CONTENT_TYPE_LATEST
