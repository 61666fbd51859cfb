"""What the domain needs from outside. Adapters are in `domain/adapters`, fakes in `tests/fakes.py`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from domain.values import Money


@dataclass(frozen=True, slots=True)
class JobMessage:
    """What goes over the broker for one job: a pointer to the ledger, never the payload."""

    job_id: str
    kind: str
    pool: str
    request_id: str | None = None
    #: What continues the trace that the job belongs to.
    traceparent: str | None = None
    #: By the pool's express queue: ahead of all that waits in the other one.
    express: bool = False


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages ready in a queue (not those that workers hold) and its consumers."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class QueueForm:
    """What decides the names and arguments of all queues: `classic` or `quorum`, and a version."""

    kind: Literal["classic", "quorum"]
    version: int

    def __str__(self) -> str:
        """As people say it."""
        return f"{self.kind} queues of version {self.version}"


@dataclass(frozen=True, slots=True)
class FormerQueue:
    """A queue that exists, whatever its form."""

    name: str
    ready: int
    consumers: int

    @property
    def idle(self) -> bool:
        """Whether nothing is in it, and nobody takes from it."""
        return not self.ready and not self.consumers


@dataclass(frozen=True, slots=True)
class Connections:
    """One process's connections to one service. None where the client library does not tell."""

    open: int
    #: With a command on it.
    in_use: int | None = None
    #: Callers that wait: for a connection, or for RabbitMQ's confirms.
    waiting: int | None = None
    #: Attempts to get a connection that failed, since the start.
    failed: int | None = None


class JobQueue(Protocol):
    """The broker as a publisher sees it."""

    async def publish(self, messages: Sequence[JobMessage]) -> list[bool]:
        """Sends persistent, mandatory messages with confirms outstanding together.

        Answers, in order, which ones the broker confirmed within the deadline. Never raises for a broker
        that is away, and answers at once while it is known to be: the ledger keeps the job.
        """

    async def depth(self, pool: str) -> QueueDepth | None:
        """What waits for the pool, also of what was sent ahead.

        None where the pool has no queue, and where the broker is away.
        """

    async def purge(self, pool: str) -> int | None:
        """Drops what `depth` counts; answers how many, and None as `depth` does."""

    async def former(self, pool: str, form: QueueForm) -> list[FormerQueue]:
        """The pool's queues of that form that exist, with those of messages that were put aside.

        Raises ConnectionError where the broker does not say.
        """

    async def delete(self, name: str) -> bool:
        """Deletes the queue unless something has come to it meanwhile. False where it is still there."""

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

    async def add(self, items: Mapping[str, str], *, seconds: int) -> None:
        """Sets those that are not there; what is there stays, and its time, too."""

    async def drop(self, keys: Sequence[str]) -> None:
        """Deletes the keys."""

    async def ping(self) -> None:
        """Raises when the cache is away."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What became of one request under a limit."""

    allowed: bool
    #: Requests that are left in this window.
    remaining: int
    #: Seconds until the window ends.
    reset: float


@dataclass(frozen=True, slots=True)
class Delays:
    """How waits grow: none for the `free` first tries, then `first` seconds, doubled up to `longest`.

    Tries are forgotten after `forget` seconds without one.
    """

    free: int
    first: float
    longest: float
    forget: float

    def after(self, tries: int) -> float:
        """Seconds to wait after so many tries."""
        past = tries - self.free
        return min(self.longest, self.first * 2.0 ** min(past - 1, 40)) if past > 0 else 0.0


class RateLimiter(Protocol):
    """Counts over all processes; in each process alone while the counter is away. No method raises."""

    async def spend(self, key: str, *, limit: int, seconds: int) -> Spent:
        """Counts one request in the key's window, which its first request opens."""

    async def attempt(self, key: str, delays: Delays) -> float:
        """Counts a try and answers 0; or counts nothing and answers the seconds that are still to wait."""

    async def delay(self, key: str) -> float:
        """The seconds that are still to wait; 0 for none."""

    async def give_back(self, key: str) -> None:
        """The try that was counted last was none: one less, and nothing to wait for on its account."""

    async def forgive(self, key: str) -> None:
        """Forgets the key's tries."""


class ProviderTimeout(Exception):
    """The provider gave no answer in time: what it did is unknown, and has to be asked by key."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The provider's record of one attempt."""

    key: str
    reference: str
    status: Literal["authorised", "captured", "voided", "declined"]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Repaid:
    """The provider's record of one refund."""

    refund_key: str
    status: Literal["refunded", "refused"]
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

    async def refund(self, *, key: str, amount: Money, refund_key: str) -> Repaid:
        """Pays captured money back, once per `refund_key`, and never more than was captured.

        Raises ProviderTimeout.
        """


class ObjectMissing(Exception):
    """There is no object of that key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    size: int


class ObjectStore(Protocol):
    """Objects by key, streamed. Every method raises ServiceAway while the store is away."""

    async def put(
        self, key: str, body: AsyncIterator[bytes], *, content_type: str, cache_control: str | None = None
    ) -> int:
        """Stores the whole body under the key, in place of what was there; answers its bytes.

        Where the body raises, nothing is stored.
        """

    def open(self, key: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The object's bytes, in chunks. Raises ObjectMissing."""

    async def size(self, key: str) -> int | None:
        """The object's bytes; None where there is none."""

    async def listing(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[StoredObject]:
        """Objects whose keys begin with the prefix and sort after `after`: the first `limit`, by key.

        Fewer than `limit` are the last. `limit` is at most 1000.
        """

    async def delete(self, keys: Sequence[str]) -> None:
        """Idempotent."""

    async def ping(self) -> None:
        """Raises ServiceAway."""


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form that sends one object straight to the store: a POST of these fields, then of `file`."""

    url: str
    fields: Mapping[str, str]


class UploadRefused(Exception):
    """The parts cannot be put together: one is missing, or is another than was named."""


class UploadStore(Protocol):
    """How clients send bytes to the object store themselves. Raises ServiceAway while it is away."""

    async def form(self, key: str, *, size: int, content_type: str, seconds: int) -> UploadForm:
        """A form for an object of this very key, size and type, good for so long."""

    async def begin(self, key: str, *, content_type: str) -> str:
        """Begins an upload in parts; answers its id."""

    async def part_urls(self, key: str, upload_id: str, sizes: Sequence[int], *, seconds: int) -> list[str]:
        """Where each part of these sizes is sent by PUT, in order; good for so long."""

    async def finish(self, key: str, upload_id: str, etags: Sequence[str]) -> None:
        """Puts the parts together, by the ETags in order. Idempotent. Raises UploadRefused."""

    async def abort(self, key: str, upload_id: str) -> None:
        """Idempotent. Deletes the parts that have arrived."""

    async def begun(
        self, prefix: str, *, before: datetime, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[tuple[str, str]], str]:
        """Keys and ids of uploads in parts under the prefix that began earlier and have no end yet.

        One page, and what `after` the next one comes; "" on the last.
        """


class UrlSigner(Protocol):
    """Addresses at which one object can be read without credentials, for a time."""

    #: Whether addresses can have a beginning, and be bound to a network.
    restricts: bool

    async def sign(
        self, key: str, *, until: datetime, since: datetime | None = None, network: str | None = None
    ) -> str:
        """The address. `network` is one IPv4 address or range of those who may use it."""


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One message to one address. `id` is its own for good: sent twice, it is known as one."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    date: datetime


class LetterRefused(Exception):
    """The message is not taken, now or later; the text says why."""


class MailAway(Exception):
    """The message is not taken now, or it is not known whether it was."""


class Mailer(Protocol):
    """A server that takes mail."""

    async def send(self, mail: OutgoingMail) -> None:
        """Returns once the server has taken the message. Raises LetterRefused and MailAway."""


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What became of one call. Without `status` there was no answer, and `error` says why."""

    seconds: float
    status: int | None = None
    error: str | None = None
    #: The answer's first characters, none of them a control character but line breaks and tabs.
    body: str = ""
    #: The header `Retry-After` as it came.
    retry_after: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own


class WebhookSender(Protocol):
    """Calls addresses that strangers have chosen, and lets none of them reach into our network."""

    def objection(self, url: str) -> str | None:
        """Why the URL cannot be called, as far as that can be told without asking anybody; else None."""

    async def send(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> WebhookAnswer:
        """One POST: no redirect is followed, and no more is read than is shown.

        Answers within a set time, whatever the receiver does, and never raises for what it does.
        """
