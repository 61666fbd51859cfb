"""Worker pools: how long jobs may wait in them, and how much of them one account may take."""

from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import Field
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration
from domain.values import Duration

#: A wait of nothing is one that no number of workers keeps.
_Wait: TypeAlias = Annotated[Duration, Field(gt=timedelta())]
_Share: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000)]


class Pools(BaseSettings):
    """Worker pools."""

    model_config = config("POOLS")
    #: What ops want a backlog to be drained within; sizes the recommended number of workers.
    target_wait: _Wait = duration("30s")
    #: The same of single pools, such as {"media": "5m"}.
    target_waits: dict[str, _Wait] = {}
    #: Queued jobs of one account and kind past which the rest wait for their turn; 0 for no limit.
    fair_share: _Share = 100
    #: The same of single pools, such as {"notifications": 500}.
    fair_shares: dict[str, _Share] = {}
    #: How often jobs are sent whose turn has come.
    feed_every: Duration = Field(default=timedelta(milliseconds=200), gt=timedelta())

    def target(self, pool: str) -> timedelta:
        """What a backlog of the pool is to be drained within."""
        return self.target_waits.get(pool, self.target_wait)

    def share(self, pool: str) -> int:
        """How many queued jobs of one account the pool takes at once; 0 for any number."""
        return self.fair_shares.get(pool, self.fair_share)
