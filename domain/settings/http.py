"""The HTTP layer, the console, and who may come in."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from domain.settings.forms import ORIGIN, config, duration
from domain.values import Duration


class Api(BaseSettings):
    """The HTTP layer."""

    model_config = config("API")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    #: Requests at work at once in one process; past that, 503 with Retry-After.
    max_concurrency: int = Field(default=512, ge=1)
    #: Once somebody has waited this long for a connection to the store, new requests are answered 503, too.
    max_store_wait: Duration = duration("1s")
    #: The longest `?wait=`.
    max_wait: Duration = duration("30s")
    cors_origins: list[Annotated[str, Field(pattern=ORIGIN)]] = []
    #: Proxies in front that each add to `X-Forwarded-For`; 0 where clients connect themselves.
    proxies: int = Field(default=0, ge=0, le=10)
    #: Serves `/docs` and `/openapi.json`.
    docs: bool = True
    #: How long a connection stays open between two requests. What stands in front has to give up first.
    keep_alive: Duration = duration("75s")
    shutdown_timeout: Duration = duration("20s")


class Console(BaseSettings):
    """The page for those who operate the platform: a process of its own, `python -m api.console`."""

    model_config = config("CONSOLE")
    host: str = "127.0.0.1"
    port: int = Field(default=8001, ge=0, le=65535)
    #: How long somebody stays logged in there who has no page open.
    session_ttl: Duration = Field(default=timedelta(hours=12), ge=timedelta(minutes=1))


class Auth(BaseSettings):
    """Accounts and tokens."""

    model_config = config("AUTH")
    #: PEM of an Ed25519 private key. Without one the processes share one that is kept in the store.
    signing_key: SecretStr | None = None
    issuer: str = "stockyard"
    access_ttl: Duration = Field(default=timedelta(minutes=15), ge=timedelta(seconds=1))
    #: How long a session lasts after it was last refreshed.
    refresh_ttl: Duration = Field(default=timedelta(days=30), ge=timedelta(seconds=1))
    #: How long after a refresh the same device may show the token that was replaced.
    refresh_grace: Duration = duration("10s")
    #: How long a process believes what it knows of a session or key although nobody told it otherwise.
    recheck: Duration = Field(default=timedelta(seconds=5), ge=timedelta(milliseconds=100))
    #: What zxcvbn has to give a new password, 0 to 4.
    min_password_score: int = Field(default=3, ge=0, le=4)
    #: Log-ins of one account that may fail before each further one waits, and the longest such wait.
    login_attempts: int = Field(default=10, ge=1)
    login_max_delay: Duration = duration("1m")
    #: The same of one address, over all accounts.
    address_attempts: int = Field(default=30, ge=1)
    address_max_delay: Duration = duration("15m")
    #: Registrations that one address may ask for in an hour.
    new_accounts_per_hour: int = Field(default=300, ge=1)
    #: Requests a minute of an API key that was made without a limit of its own.
    key_rate_limit: int = Field(default=600, ge=1, le=1_000_000)
