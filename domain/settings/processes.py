"""Jobs, and the processes that do them."""

from datetime import timedelta
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration
from domain.values import Duration


class Deployment(BaseSettings):
    """Where the process runs."""

    model_config = config("")
    #: "production" refuses to start with a default secret, see `domain/startup.py`.
    env: Literal["development", "production"] = "development"
    #: How often a process tells the others that it is there. One that misses four beats counts as lost.
    heartbeat: Duration = Field(default=timedelta(seconds=5), ge=timedelta(milliseconds=100))


class Jobs(BaseSettings):
    """The job ledger."""

    model_config = config("JOBS")
    #: Runs of a job before it is dead.
    max_attempts: int = Field(default=5, ge=1)
    #: First pause before a job is run again; doubles each time, with jitter.
    backoff: Duration = duration("1s")
    max_backoff: Duration = duration("5m")
    #: A job that keeps asking to be run again is dead after this.
    give_up_after: Duration = duration("24h")
    #: How long a worker may be silent about a running job before another takes it.
    lease: Duration = duration("30s")
    #: The longest that one run may take; below RabbitMQ's `consumer_timeout` of 30 minutes.
    time_limit: Duration = Field(default=timedelta(minutes=10), gt=timedelta(), lt=timedelta(minutes=30))
    #: Jobs that one write to the ledger accepts, at most.
    max_batch: int = Field(default=64, ge=1, le=1000)
    #: A job that was sent and still waits is sent again after this.
    resend_after: Duration = duration("10m")
    #: The same, when its queue is empty: the message must have been lost.
    resend_empty_after: Duration = duration("30s")
    #: Finished jobs lose their payload and history after this; at least 24h keeps idempotency keys whole.
    compact_after: Duration = duration("24h")


class Workers(BaseSettings):
    """Worker processes."""

    model_config = config("WORKERS")
    #: Threads of one process: the most jobs that one batch can hold.
    threads: int = Field(default=64, ge=1, le=1024)
    #: How long a stop waits for the jobs in hand.
    shutdown_timeout: Duration = duration("25s")
    #: Port of the probe (`/healthz`, `/metrics`); 0 for none.
    probe_port: int = Field(default=0, ge=0, le=65535)
    probe_host: str = "127.0.0.1"
    max_batch: int = Field(default=64, ge=1, le=1000)
    #: Renewed while a batch works. What a killed worker had locked stays so for this long.
    lock_ttl: Duration = duration("5s")
    #: Then the work goes on without them. Long enough for many holders, one after the other: who goes on
    #: without them is in the others' way, and all of them have to run again.
    lock_wait: Duration = duration("10s")
    #: A queue that was not consumed for this long makes the probe fail: longer than a restart of RabbitMQ.
    probe_silence: Duration = duration("30s")


class Scheduler(BaseSettings):
    """The timetable's process."""

    model_config = config("SCHEDULER")
    leader_ttl: Duration = duration("5s")
    expire_every: Duration = duration("500ms")
    relay_every: Duration = duration("1s")
    #: Holds that one `orders.expire` job ends.
    expire_batch: int = Field(default=100, ge=1, le=1000)
    probe_port: int = Field(default=0, ge=0, le=65535)
    probe_host: str = "127.0.0.1"


class Telemetry(BaseSettings):
    """Traces, for which the extra `telemetry` has to be installed."""

    model_config = config("TELEMETRY")
    #: Where a collector takes OTLP over HTTP; nothing is traced without one.
    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    #: How many of the traces that begin here are kept. What continues a client's trace is kept as that is.
    share: float = Field(default=1.0, ge=0, le=1)


class Log(BaseSettings):
    """Logs."""

    model_config = config("LOG")
    format: Literal["json", "console"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: The line that each request leaves. None stands for "json" with JSON logs, and for "dev" else.
    access: Literal["off", "json", "dev", "combined"] | None = None
