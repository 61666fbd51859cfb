"""Webhooks that we send."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration, sealing_key
from domain.values import Duration


class Webhooks(BaseSettings):
    """Where events may be sent to, how long that may take, and what becomes of those who do not answer."""

    model_config = config("WEBHOOKS")
    #: Endpoints of one account, and of the shop.
    max_endpoints: int = Field(default=20, ge=1, le=1000)
    #: Ports that may be called; none stands for any.
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = [443, 8443]
    #: Lets endpoints be on this host, at any port, by `http://` too: for development and tests.
    allow_loopback: bool = False
    #: The longest that one call may take, from looking up the name to the end of the answer.
    timeout: Duration = Field(default=timedelta(seconds=10), ge=timedelta(milliseconds=100))
    #: Calls that one process has on their way to one endpoint; a quarter of it while the endpoint is slow.
    concurrency: int = Field(default=16, ge=1, le=1000)
    #: Calls that one process has on their way to all endpoints together that were slow to answer.
    slow_concurrency: int = Field(default=16, ge=1, le=1000)
    #: An endpoint is disabled after so many failures without a success between them, and not before so long.
    disable_after: int = Field(default=12, ge=1, le=10_000)
    disable_after_time: Duration = duration("3d")
    #: How long a replaced secret signs as well, if nobody asks for another time.
    secret_overlap: Duration = duration("24h")
    #: What the secrets of endpoints are encrypted with in the store: by the first key, read with any of them.
    secret_keys: list[Annotated[SecretStr, AfterValidator(sealing_key)]] = []
    #: How long the log of deliveries is kept.
    keep_log: Duration = Field(default=timedelta(days=30), ge=timedelta(days=4))
    #: How long a process goes by the endpoints that it knows although nobody told it of a change.
    refresh: Duration = Field(default=timedelta(seconds=3), ge=timedelta(milliseconds=10))
