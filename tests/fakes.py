"""Stand-ins for what the domain needs from outside; each runs the test cases of its real adapter.

Their state is in the instance: two parties that share a Redis, say, share the fake. `away` makes a fake
behave as its adapter does while the service is away.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from domain.errors import ServiceAway
from domain.ports import (
    Charge,
    FormerQueue,
    JobMessage,
    LetterRefused,
    Lock,
    MailAway,
    ObjectMissing,
    OutgoingMail,
    ProviderTimeout,
    QueueDepth,
    QueueForm,
    Repaid,
    StoredObject,
)
from domain.values import Money


class FakeLocks:
    """`ports.Locks` in memory. `lapse` does what an expiry in Redis does; `beside` has the same keys."""

    def __init__(self, *, wait: float = 2.0, beside: "FakeLocks | None" = None) -> None:
        self.away = False
        self._wait = wait
        self._owners: dict[str, Lock] = {} if beside is None else beside._owners
        self._changed: asyncio.Condition = asyncio.Condition() if beside is None else beside._changed

    @asynccontextmanager
    async def hold(self, keys: Sequence[str]) -> AsyncIterator[Lock]:
        lock = Lock(tuple(sorted(set(keys))), held=False)
        lock.held = not self.away and await self._acquire(lock)
        try:
            yield lock
        finally:
            await self._release(lock)

    async def lapse(self, *keys: str) -> None:
        for key in keys:
            if key in self._owners:
                self._owners.pop(key).lost = True
        async with self._changed:
            self._changed.notify_all()

    async def _acquire(self, lock: Lock) -> bool:
        try:
            async with asyncio.timeout(self._wait), self._changed:
                await self._changed.wait_for(lambda: not self._owners.keys() & set(lock.keys))
                self._owners.update(dict.fromkeys(lock.keys, lock))
        except TimeoutError:
            return False
        return True

    async def _release(self, lock: Lock) -> None:
        for key in lock.keys:
            if self._owners.get(key) is lock:
                del self._owners[key]
        async with self._changed:
            self._changed.notify_all()


class FakeListener(AsyncIterator[str]):
    """What `FakePubSub.subscribe` gives."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._payloads: deque[str] = deque()
        self._arrived = asyncio.Event()

    def put(self, payload: str) -> None:
        if not payload or len(self._payloads) >= self._backlog:
            self._payloads.clear()
            payload = ""
        self._payloads.append(payload)
        self._arrived.set()

    async def __anext__(self) -> str:
        while not self._payloads:
            self._arrived.clear()
            await self._arrived.wait()
        return self._payloads.popleft()


class FakePubSub:
    """`ports.PubSub` in memory. `published` keeps what was sent; `break_connection` loses the link once."""

    def __init__(self, *, backlog: int = 1000) -> None:
        self.away = False
        self.published: list[tuple[str, str]] = []
        self._backlog = backlog
        self._listeners: dict[str, set[FakeListener]] = defaultdict(set)

    @property
    def channels(self) -> set[str]:
        """Those that somebody listens to."""
        return {channel for channel, listeners in self._listeners.items() if listeners}

    async def publish(self, messages: Sequence[tuple[str, str]]) -> bool:
        if self.away:
            return False
        for channel, payload in messages:
            self.published.append((channel, payload))
            for listener in self._listeners[channel]:
                listener.put(payload)
        return True

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[AsyncIterator[str]]:
        listener = FakeListener(self._backlog)
        for channel in channels:
            self._listeners[channel].add(listener)
        try:
            yield listener
        finally:
            for channel in channels:
                self._listeners[channel].discard(listener)

    def break_connection(self) -> None:
        for listener in set().union(*self._listeners.values()):
            listener.put("")


class FakeCache:
    """`ports.Cache` in memory. Nothing expires by itself: `clock` moves the time."""

    def __init__(self) -> None:
        self.away = False
        self.clock = 0.0
        self._values: dict[str, tuple[str, float]] = {}

    async def get(self, key: str) -> str | None:
        value, until = self._values.get(key, ("", 0.0))
        return value if self.clock < until and not self.away else None

    async def put(self, items: Mapping[str, str], *, seconds: int) -> None:
        if not self.away:
            self._values.update({key: (value, self.clock + seconds) for key, value in items.items()})

    async def add(self, items: Mapping[str, str], *, seconds: int) -> None:
        there = {key for key in items if await self.get(key) is not None}
        await self.put({key: items[key] for key in items.keys() - there}, seconds=seconds)

    async def drop(self, keys: Sequence[str]) -> None:
        for key in keys if not self.away else ():
            self._values.pop(key, None)

    async def ping(self) -> None:
        if self.away:
            raise ConnectionError


class FakeLeadership:
    """`ports.Leadership`; candidates share a `seat`, which is empty or holds the leader."""

    def __init__(self, seat: "list[FakeLeadership]") -> None:
        self.away = False
        self._seat = seat

    async def lead(self) -> bool:
        if not self._seat and not self.away:
            self._seat.append(self)
        return self.away or self._seat[0] is self

    async def resign(self) -> None:
        if not self.away:
            with suppress(ValueError):
                self._seat.remove(self)


class FakeProvider:
    """`ports.PaymentProvider` in memory, with the sandbox's sources. `charges` are its books."""

    def __init__(self) -> None:
        self.away = False
        self.charges: dict[str, Charge] = {}
        #: What was paid back, by charge and refund.
        self.refunds: dict[str, dict[str, int]] = {}
        self._amounts: dict[str, Money] = {}
        self._lost: set[str] = set()

    async def authorise(self, *, key: str, amount: Money, source: str) -> Charge:
        self._answering(key)
        if source == "sandbox:timeout-unseen" and key not in self._lost | self.charges.keys():
            self._lost.add(key)
            raise ProviderTimeout(key)
        fresh = key not in self.charges
        self._amounts.setdefault(key, amount)
        charge = self.charges.setdefault(key, _first_charge(key, source))
        if fresh and source == "sandbox:timeout":
            raise ProviderTimeout(key)
        return charge

    async def find(self, key: str) -> Charge | None:
        self._answering(key)
        return self.charges.get(key)

    async def capture(self, *, key: str) -> Charge:
        self._answering(key)
        known = self.charges.get(key, Charge(key, f"sandbox_{key}", "declined", "unknown_charge"))
        if known.status != "authorised":
            return known
        return self._set(Charge(key, known.reference, "captured"))

    async def void(self, *, key: str) -> Charge:
        self._answering(key)
        known = self.charges.get(key)
        if known is not None and known.status != "authorised":
            return known
        return self._set(Charge(key, f"sandbox_{key}", "voided"))

    async def refund(self, *, key: str, amount: Money, refund_key: str) -> Repaid:
        self._answering(key)
        paid = self.refunds.setdefault(key, {})
        if refund_key in paid:
            return Repaid(refund_key, "refunded")
        refusal = self._refund_refusal(key, amount)
        if refusal is None:
            paid[refund_key] = amount.amount
        return Repaid(refund_key, "refused" if refusal else "refunded", refusal)

    def _refund_refusal(self, key: str, amount: Money) -> str | None:
        if key not in self.charges:
            return "unknown_charge"
        if self.charges[key].status != "captured":
            return "not_captured"
        captured = self._amounts[key]
        if amount.currency != captured.currency:
            return "other_currency"
        left = captured.amount - sum(self.refunds[key].values())
        return "more_than_captured" if amount.amount > left else None

    def _set(self, charge: Charge) -> Charge:
        self.charges[charge.key] = charge
        return charge

    def _answering(self, key: str) -> None:
        if self.away:
            raise ProviderTimeout(key)


def _first_charge(key: str, source: str) -> Charge:
    if source in {"sandbox:approve", "sandbox:timeout", "sandbox:timeout-unseen", "sandbox:twice"}:
        return Charge(key, f"sandbox_{key}", "authorised")
    reason = "declined_by_issuer" if source == "sandbox:decline" else "unknown_source"
    return Charge(key, f"sandbox_{key}", "declined", reason)


class FakeJobQueue:
    """`ports.JobQueue` in memory. `waiting` has, by pool, what was confirmed and nobody took.

    With a count of `consumers`, pools that nothing was sent to have their queue, too.
    """

    def __init__(self, *, consumers: int | None = None) -> None:
        self.away = False
        self.waiting: dict[str, list[JobMessage]] = {}
        self._consumers = consumers

    async def publish(self, messages: Sequence[JobMessage]) -> list[bool]:
        if not self.away:
            for message in messages:
                self.waiting.setdefault(message.pool, []).append(message)
        return [not self.away] * len(messages)

    async def depth(self, pool: str) -> QueueDepth | None:
        if self.away or (pool not in self.waiting and self._consumers is None):
            return None
        return QueueDepth(ready=len(self.waiting.get(pool, ())), consumers=self._consumers or 0)

    async def purge(self, pool: str) -> int | None:
        if self.away or pool not in self.waiting:
            return None
        return len(self.take(pool))

    async def former(self, pool: str, form: QueueForm) -> list[FormerQueue]:
        if self.away:
            raise ConnectionError("the broker is away")
        return []

    async def delete(self, name: str) -> bool:
        return not self.away

    async def ping(self) -> None:
        if self.away:
            raise ConnectionError("the broker is away")

    def take(self, pool: str) -> list[JobMessage]:
        taken = self.waiting.get(pool, [])
        if taken:
            self.waiting[pool] = []
        return taken


class FakeObjectStore:
    """`ports.ObjectStore` in memory."""

    def __init__(self) -> None:
        self.away = False
        self._objects: dict[str, bytes] = {}

    async def put(
        self, key: str, body: AsyncIterator[bytes], *, content_type: str, cache_control: str | None = None
    ) -> int:
        data = b"".join([chunk async for chunk in body])
        await self.ping()
        self._objects[key] = data
        return len(data)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        await self.ping()
        if key not in self._objects:
            raise ObjectMissing(key)
        data = self._objects[key]

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 1024):
                yield data[start : start + 1024]

        yield chunks()

    async def size(self, key: str) -> int | None:
        await self.ping()
        return len(self._objects[key]) if key in self._objects else None

    async def listing(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[StoredObject]:
        await self.ping()
        keys = sorted(key for key in self._objects if key.startswith(prefix) and key > after)
        return [StoredObject(key, len(self._objects[key])) for key in keys[:limit]]

    async def delete(self, keys: Sequence[str]) -> None:
        await self.ping()
        for key in keys:
            self._objects.pop(key, None)

    async def ping(self) -> None:
        if self.away:
            raise ServiceAway(service="S3")


class FakeMailer:
    """`ports.Mailer` in memory. `refused` are addresses that it takes nothing for."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[str] = set()
        self.taken: list[OutgoingMail] = []

    async def send(self, mail: OutgoingMail) -> None:
        if not mail.to.isprintable() or not mail.subject.isprintable() or "@" not in mail.to:
            raise LetterRefused("no address or subject to send")
        if self.away:
            raise MailAway("the server is away")
        if mail.to in self.refused:
            raise LetterRefused("550 no such mailbox")
        self.taken.append(mail)
