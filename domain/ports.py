"""What the domain needs from outside. Adapters are in `domain/adapters`, fakes in `tests/fakes.py`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from domain.values import Money


@dataclass(frozen=True, slots=True)
class JobMessage:
    """What goes over the broker for one job: a pointer to the ledger, never the payload."""

    job_id: str
    kind: str
    pool: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages ready in a queue (not those that workers hold) and its consumers."""

    ready: int
    consumers: int


class JobQueue(Protocol):
    """The broker as a publisher sees it."""

    async def publish(self, messages: Sequence[JobMessage]) -> list[bool]:
        """Sends persistent, mandatory messages with confirms outstanding together.

        Answers, in order, which ones the broker confirmed within the deadline. Never raises for a broker
        that is away, and answers at once while it is known to be: the ledger keeps the job.
        """

    async def depth(self, pool: str) -> QueueDepth | None:
        """The depth of the pool's queue; None where there is no such queue or the broker is away."""

    async def ping(self) -> None:
        """Raises unless a connection with confirms is open."""


@dataclass(slots=True)
class Lock:
    """What a holder knows of its lock.

    `held` is False when the work goes on without it: Redis is away, or the wait was over. `lost` turns True
    when the lock expired or was taken while its holder worked. Neither is an error: locks only save work.
    """

    keys: tuple[str, ...]
    held: bool
    lost: bool = False


class Locks(Protocol):
    """Many keys in one call, taken all or none, in sorted order, renewed until released by their owner."""

    def hold(self, keys: Sequence[str]) -> AbstractAsyncContextManager[Lock]:
        """Waits a bounded time for all keys. Never raises: see `Lock.held`."""


class Leadership(Protocol):
    """One leader among many processes."""

    async def lead(self) -> bool:
        """Takes or renews the leadership. True, too, when nobody can tell: the timetable is idempotent."""

    async def resign(self) -> None:
        """Lets another lead at once."""


class PubSub(Protocol):
    """Fire-and-forget channels. A lost message costs latency: listeners replay from the store."""

    async def publish(self, messages: Sequence[tuple[str, str]]) -> bool:
        """Sends (channel, payload) pairs in one pipeline, in order. False when they could not be sent."""

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Payloads of the channels from the moment of entering, over one connection per process.

        The iterator yields "" when messages may have been missed (the connection broke), so that the
        listener replays from its cursor.
        """


class Cache(Protocol):
    """Strings that may vanish. No method raises when the cache is away."""

    async def get(self, key: str) -> str | None:
        """The value, or None."""

    async def put(self, items: Mapping[str, str], *, seconds: int) -> None:
        """Sets all in one pipeline."""

    async def drop(self, keys: Sequence[str]) -> None:
        """Deletes the keys."""

    async def ping(self) -> None:
        """Raises when the cache is away."""


class ProviderTimeout(Exception):
    """The provider gave no answer in time: what it did is unknown, and has to be asked by key."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The provider's record of one attempt."""

    key: str
    reference: str
    status: Literal["authorised", "captured", "voided", "declined"]
    reason: str | None = None


class PaymentProvider(Protocol):
    """Every call is idempotent by `key`, the payment attempt's id."""

    async def authorise(self, *, key: str, amount: Money, source: str) -> Charge:
        """Raises ProviderTimeout."""

    async def find(self, key: str) -> Charge | None:
        """What the provider knows of the key: how a timeout is reconciled. Raises ProviderTimeout."""

    async def capture(self, *, key: str) -> Charge:
        """Takes the authorised money. A second call answers as the first. Raises ProviderTimeout."""

    async def void(self, *, key: str) -> Charge:
        """Lets the authorised money go; captured money is not touched. Raises ProviderTimeout."""
