"""What runs beside Stockyard: the store, Redis, RabbitMQ, S3."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration
from domain.values import Duration


class Mongo(BaseSettings):
    """The store. A replica set is needed: orders are placed in transactions."""

    model_config = config("MONGO")
    url: str = "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    database: str = Field(default="stockyard", pattern=r"^[A-Za-z0-9_-]{1,38}$")
    #: The longest that one operation may take.
    timeout: Duration = duration("10s")
    #: How long an operation looks for a store that takes it, before its caller is told that it is away.
    away_after: Duration = duration("2s")
    max_pool_size: int = Field(default=20, ge=1, le=1000)


class Redis(BaseSettings):
    """Locks, cache, pub/sub and the scheduler's leadership. Nothing in it is the truth."""

    model_config = config("REDIS")
    url: str = "redis://127.0.0.1:6379/0"
    #: The longest that one command may take before the work goes on without Redis.
    timeout: Duration = duration("500ms")


class Rabbitmq(BaseSettings):
    """The broker."""

    model_config = config("RABBITMQ")
    url: str = "amqp://guest:guest@127.0.0.1:5672/"
    #: "quorum" for a cluster of three or more nodes.
    queue_type: Literal["classic", "quorum"] = "classic"
    #: Queue names end with this version, so that changed arguments get new queues.
    queue_version: int = Field(default=1, ge=1)
    #: How long a publish may wait for RabbitMQ's confirm before the relay takes over.
    publish_timeout: Duration = duration("2s")
    heartbeat: Duration = duration("15s")


class S3(BaseSettings):
    """Object storage, for media and for files of imports and exports."""

    model_config = config("S3")
    endpoint_url: str | None = None
    #: Where clients reach it, if that is another address: what they upload to and download from.
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#]+$")
    access_key: str | None = None
    secret_key: SecretStr | None = None
    region: str = "us-east-1"
    bucket: str = "stockyard-media"
