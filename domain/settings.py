"""Every setting, grouped per vendor, read from the environment or `.env` once at start.

Names are `STOCKYARD_<GROUP>_<NAME>`; `.env.example` lists them all.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.values import Duration, parse_duration


def _duration(text: str) -> Any:
    return Field(default=parse_duration(text))


def _config(group: str) -> SettingsConfigDict:
    return SettingsConfigDict(
        env_prefix=f"STOCKYARD_{group}_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )


class Mongo(BaseSettings):
    """The store. A replica set is needed: orders are placed in transactions."""

    model_config = _config("MONGO")
    url: str = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    database: str = Field(default="stockyard", pattern=r"^[A-Za-z0-9_-]{1,38}$")
    #: The longest that one operation may take.
    timeout: Duration = _duration("10s")
    #: How long an operation looks for a store that takes it, before its caller is told that it is away.
    away_after: Duration = _duration("2s")
    max_pool_size: int = Field(default=20, ge=1, le=1000)


class Redis(BaseSettings):
    """Locks, cache, pub/sub and the scheduler's leadership. Nothing in it is the truth."""

    model_config = _config("REDIS")
    url: str = "redis://127.0.0.1:6379/0"
    #: The longest that one command may take before the work goes on without Redis.
    timeout: Duration = _duration("500ms")


class Rabbitmq(BaseSettings):
    """The broker."""

    model_config = _config("RABBITMQ")
    url: str = "amqp://guest:guest@127.0.0.1:5672/"
    #: "quorum" for a cluster of three or more nodes.
    queue_type: Literal["classic", "quorum"] = "classic"
    #: Queue names end with this version, so that changed arguments get new queues.
    queue_version: int = Field(default=1, ge=1)
    #: How long a publish may wait for RabbitMQ's confirm before the relay takes over.
    publish_timeout: Duration = _duration("2s")
    heartbeat: Duration = _duration("15s")


class S3(BaseSettings):
    """Object storage, for media."""

    model_config = _config("S3")
    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: SecretStr | None = None
    region: str = "us-east-1"
    bucket: str = "stockyard-media"


class Api(BaseSettings):
    """The HTTP layer."""

    model_config = _config("API")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    #: Requests at work at once in one process; past that, 503 with Retry-After.
    max_concurrency: int = Field(default=512, ge=1)
    #: The longest `?wait=`.
    max_wait: Duration = _duration("30s")
    cors_origins: list[str] = []
    #: Serves `/docs` and `/openapi.json`.
    docs: bool = True
    shutdown_timeout: Duration = _duration("20s")


class Auth(BaseSettings):
    """Accounts and tokens."""

    model_config = _config("AUTH")
    #: PEM of an Ed25519 private key. Without one the processes share one that is kept in the store.
    signing_key: SecretStr | None = None
    issuer: str = "stockyard"
    access_ttl: Duration = _duration("15m")


class Jobs(BaseSettings):
    """The job ledger."""

    model_config = _config("JOBS")
    #: Runs of a job before it is dead.
    max_attempts: int = Field(default=5, ge=1)
    #: First pause before a job is run again; doubles each time, with jitter.
    backoff: Duration = _duration("1s")
    max_backoff: Duration = _duration("5m")
    #: A job that keeps asking to be run again is dead after this.
    give_up_after: Duration = _duration("24h")
    #: How long a worker may be silent about a running job before another takes it.
    lease: Duration = _duration("30s")
    #: The longest that one run may take; below RabbitMQ's `consumer_timeout` of 30 minutes.
    time_limit: Duration = Field(default=timedelta(minutes=10), gt=timedelta(), lt=timedelta(minutes=30))
    #: Jobs that one write to the ledger accepts, at most.
    max_batch: int = Field(default=64, ge=1, le=1000)
    #: A job that was sent and still waits is sent again after this.
    resend_after: Duration = _duration("10m")
    #: The same, when its queue is empty: the message must have been lost.
    resend_empty_after: Duration = _duration("30s")
    #: Finished jobs lose their payload and history after this; at least 24h keeps idempotency keys whole.
    compact_after: Duration = _duration("24h")


class Orders(BaseSettings):
    """Orders and holds."""

    model_config = _config("ORDERS")
    #: How long a reserved order or a reservation holds its stock.
    hold_time: Duration = _duration("15m")
    max_lines: int = Field(default=100, ge=1, le=1000)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")


class Payments(BaseSettings):
    """The payment provider."""

    model_config = _config("PAYMENTS")
    timeout: Duration = _duration("5s")


class Workers(BaseSettings):
    """Worker processes."""

    model_config = _config("WORKERS")
    #: Threads of one process: the most jobs that one batch can hold.
    threads: int = Field(default=64, ge=1, le=1024)
    #: How long a stop waits for the jobs in hand.
    shutdown_timeout: Duration = _duration("25s")
    #: Port of the probe (`/healthz`, `/metrics`); 0 for none.
    probe_port: int = Field(default=0, ge=0, le=65535)
    probe_host: str = "127.0.0.1"
    max_batch: int = Field(default=64, ge=1, le=1000)
    lock_ttl: Duration = _duration("5s")
    lock_wait: Duration = _duration("2s")
    #: A queue that was not consumed for this long makes the probe fail: longer than a restart of RabbitMQ.
    probe_silence: Duration = _duration("30s")


class Scheduler(BaseSettings):
    """The timetable's process."""

    model_config = _config("SCHEDULER")
    leader_ttl: Duration = _duration("5s")
    expire_every: Duration = _duration("500ms")
    relay_every: Duration = _duration("1s")
    #: Holds that one `orders.expire` job ends.
    expire_batch: int = Field(default=100, ge=1, le=1000)
    probe_port: int = Field(default=0, ge=0, le=65535)
    probe_host: str = "127.0.0.1"


class Log(BaseSettings):
    """Logs."""

    model_config = _config("LOG")
    format: Literal["json", "console"] = "json"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseModel):
    """All groups. Frozen: a process reads its settings once."""

    model_config = ConfigDict(frozen=True)
    mongo: Mongo = Field(default_factory=Mongo)
    redis: Redis = Field(default_factory=Redis)
    rabbitmq: Rabbitmq = Field(default_factory=Rabbitmq)
    s3: S3 = Field(default_factory=S3)
    api: Api = Field(default_factory=Api)
    auth: Auth = Field(default_factory=Auth)
    jobs: Jobs = Field(default_factory=Jobs)
    orders: Orders = Field(default_factory=Orders)
    payments: Payments = Field(default_factory=Payments)
    workers: Workers = Field(default_factory=Workers)
    scheduler: Scheduler = Field(default_factory=Scheduler)
    log: Log = Field(default_factory=Log)
