"""Worker pools on the wire."""

from dataclasses import asdict
from typing import Self

from pydantic import ConfigDict, Field

from api.schemas.common import TIME, Shown, Timestamp
from domain.control.pools import Minute
from domain.jobs.pool_reports import PoolReport

_EXAMPLE = {
    "pool": "media",
    "depth": 420,
    "ready": 400,
    "in_ledger": 20,
    "in_flight": 8,
    "oldest_seconds": 310.5,
    "workers": 2,
    "threads": 8,
    "paused": False,
    "arrivals_per_second": 0.5,
    "arrivals_per_second_5m": 0.45,
    "completions_per_second": 1.0,
    "completions_per_second_5m": 0.98,
    "failures_per_minute": 0.0,
    "refusals_per_minute": 1.0,
    "mean_run_seconds": 8.0,
    "p95_run_seconds": 15.2,
    "mean_batch": 12.5,
    "busy_ratio": 1.0,
    "worker_rate": 0.5,
    "target_wait_seconds": 300.0,
    "drain_seconds": 840.0,
    "recommended_workers": 4,
    "attention": True,
    "words": "`media` will take 14 min to drain; 2 more workers bring it under 5 min",
}


class PoolView(Shown):
    """A pool at one moment. Rates of the last minute and of five; null is what nobody can tell now."""

    pool: str
    depth: int = Field(description="All that waits: in RabbitMQ, and in the ledger unsent though due.")
    ready: int | None = Field(default=None, description="In RabbitMQ.")
    in_ledger: int | None = Field(
        default=None, description="In the ledger: for an account's turn, or unconfirmed."
    )
    in_flight: int = Field(description="Jobs that workers have in hand.")
    oldest_seconds: float | None = Field(default=None, description="Age of the oldest queued job.")
    workers: int = Field(description="Worker processes that live and take jobs.")
    threads: int
    paused: bool
    arrivals_per_second: float
    arrivals_per_second_5m: float
    completions_per_second: float
    completions_per_second_5m: float
    failures_per_minute: float = Field(description="Runs that ended in a fault.")
    refusals_per_minute: float = Field(description="Jobs that ended `failed`, with a code.")
    mean_run_seconds: float | None = None
    p95_run_seconds: float | None = None
    mean_batch: float | None = Field(default=None, description="Jobs of a batch, where the pool batches.")
    busy_ratio: float | None = None
    worker_rate: float | None = Field(
        default=None, description="Jobs a second that one worker does when it never has to wait."
    )
    target_wait_seconds: float
    drain_seconds: float | None = Field(default=None, description="Null where it never drains, or is unknown.")
    recommended_workers: int
    attention: bool
    words: str

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    @classmethod
    def of(cls, report: PoolReport) -> Self:
        """As it is shown."""
        found = asdict(report)
        for ours, theirs in _NAMES.items():
            found[theirs] = found.pop(ours)
        return cls(**{name: _short(value) for name, value in found.items()})


#: Units belong into the names on the wire.
_NAMES = {
    "oldest": "oldest_seconds",
    "arrivals": "arrivals_per_second",
    "arrivals_5m": "arrivals_per_second_5m",
    "completions": "completions_per_second",
    "completions_5m": "completions_per_second_5m",
    "mean_run": "mean_run_seconds",
    "p95_run": "p95_run_seconds",
    "busy": "busy_ratio",
    "target": "target_wait_seconds",
    "drain": "drain_seconds",
    "recommended": "recommended_workers",
}


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


class PoolsView(Shown):
    """Every pool."""

    at: Timestamp
    pools: list[PoolView]

    model_config = ConfigDict(json_schema_extra={"examples": [{"at": TIME, "pools": [_EXAMPLE]}]})


class MinuteView(Shown):
    """What a pool did in one minute. `workers` is the mean number of processes."""

    at: Timestamp
    arrived: int
    done: int
    faults: int
    mean_run_seconds: float | None = None
    p95_run_seconds: float | None = None
    busy_ratio: float | None = None
    workers: float

    @classmethod
    def of(cls, minute: Minute) -> Self:
        """As it is shown."""
        return cls(
            at=minute.at,
            arrived=round(minute.arrived),
            done=round(minute.done),
            faults=round(minute.faults),
            mean_run_seconds=minute.mean_run and round(minute.mean_run, 4),
            p95_run_seconds=minute.p95_run and round(minute.p95_run, 4),
            busy_ratio=minute.busy and round(minute.busy, 4),
            workers=round(minute.workers, 2),
        )


class HistoryView(Shown):
    """The last hour, minute by minute, the oldest first."""

    pool: str
    minutes: list[MinuteView]
