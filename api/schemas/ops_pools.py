"""Worker pools on the wire."""

from typing import Any

from pydantic import ConfigDict, Field

from api.schemas.common import TIME, Shown, Timestamp

_EXAMPLE: dict[str, Any] = {
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
    drain_seconds: float | None = Field(
        default=None, description="Null where it never drains, or is unknown."
    )
    recommended_workers: int
    attention: bool
    words: str

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})


class PoolsView(Shown):
    """Every pool."""

    at: Timestamp
    pools: list[PoolView]

    model_config = ConfigDict(json_schema_extra={"examples": [{"at": TIME, "pools": [_EXAMPLE]}]})


class MinuteView(Shown):
    """What a pool did in one minute. `workers` is the mean number of processes."""

    at: str
    arrived: int
    done: int
    faults: int
    mean_run_seconds: float | None = None
    p95_run_seconds: float | None = None
    busy_ratio: float | None = None
    workers: float


class HistoryView(Shown):
    """The last hour, minute by minute, the oldest first."""

    pool: str
    minutes: list[MinuteView]
