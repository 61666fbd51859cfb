"""Pub/sub: all listeners of a process share one connection, and know when they may have missed something."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.asyncio import Redis as Client
from redis.asyncio.connection import AbstractConnection

from domain.adapters.redis import FAILURES, RedisAway, RedisLink

#: What a listener reads when messages may have been missed.
RESYNC = ""
#: Messages that wait for one listener; past that they are dropped and it reads RESYNC.
BACKLOG = 1000
#: Bounds of the pause before the connection is opened again, in seconds.
BACKOFF = (0.05, 1.0)
#: Seconds of silence after which the connection is asked for a sign of life.
IDLE = 5.0

_log = structlog.get_logger(__name__)


class Listener(AsyncIterator[str]):
    """One subscriber's payloads, in order. Never ends; memory is bounded."""

    def __init__(self, channels: Iterable[str], *, backlog: int) -> None:
        self.channels = frozenset(channels)
        #: Set while Redis has confirmed all channels.
        self.live = asyncio.Event()
        #: Whether there was a time, since entering, in which the channels were not live.
        self.gap = False
        self._backlog = backlog
        self._payloads: deque[str] = deque()
        self._arrived = asyncio.Event()

    def put(self, payload: str) -> None:
        """Adds a payload; where the backlog is full, RESYNC takes the place of all that waits."""
        if payload == RESYNC or len(self._payloads) >= self._backlog:
            self._payloads.clear()
            payload = RESYNC
        self._payloads.append(payload)
        self._arrived.set()

    async def __anext__(self) -> str:
        while not self._payloads:
            self._arrived.clear()
            await self._arrived.wait()
        return self._payloads.popleft()


class Subscriptions:
    """Who listens to which channel, and which channels Redis has confirmed. No I/O.

    `asked` is called with the commands that the connection has to send.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        #: SUBSCRIBEs sent and not yet confirmed, by channel.
        self._unconfirmed: Counter[str] = Counter()
        #: Commands for the connection; None while there is none.
        self.outbox: asyncio.Queue[tuple[str, ...]] | None = None

    def join(self, listener: Listener) -> None:
        """Adds a listener, and asks for channels that nobody listened to."""
        fresh = [channel for channel in listener.channels if channel not in self._listeners]
        for channel in listener.channels:
            self._listeners.setdefault(channel, set()).add(listener)
        self._subscribe(fresh)
        self._settle(listener)

    def leave(self, listener: Listener) -> None:
        """Removes a listener, and lets channels go that nobody listens to any more."""
        for channel in listener.channels:
            self._listeners[channel].discard(listener)
        gone = [channel for channel in listener.channels if not self._listeners[channel]]
        for channel in gone:
            del self._listeners[channel]
        if gone and self.outbox is not None:
            self.outbox.put_nowait(("UNSUBSCRIBE", *gone))

    def connected(self) -> asyncio.Queue[tuple[str, ...]]:
        """A new connection is there: asks for all channels over it, by the outbox that it answers."""
        self._unconfirmed.clear()
        self.outbox = asyncio.Queue()
        self._subscribe(list(self._listeners))
        return self.outbox

    def disconnected(self) -> None:
        """The connection broke: whoever listens has missed what comes until the next is confirmed."""
        self.outbox = None
        for listener in set().union(*self._listeners.values()):
            listener.live.clear()
            listener.gap = True

    def received(self, reply: Any) -> None:
        """Hands a message to its listeners, or notes a confirmation."""
        match reply:
            case ["message", str(channel), str(payload)]:
                for listener in self._listeners.get(channel, ()):
                    listener.put(payload)
            case ["subscribe", str(channel), _]:
                self._unconfirmed[channel] -= 1
                for listener in self._listeners.get(channel, ()):
                    self._settle(listener)

    def _subscribe(self, channels: Sequence[str]) -> None:
        if channels and self.outbox is not None:
            self._unconfirmed.update(channels)
            self.outbox.put_nowait(("SUBSCRIBE", *channels))

    def _settle(self, listener: Listener) -> None:
        pending = any(self._unconfirmed[channel] > 0 for channel in listener.channels)
        if self.outbox is None or pending or listener.live.is_set():
            return
        listener.live.set()
        if listener.gap:
            listener.gap = False
            listener.put(RESYNC)


class RedisPubSub:
    """`ports.PubSub`. Listening opens one connection with the first subscriber, and anew when it breaks."""

    def __init__(self, redis: RedisLink, *, backlog: int = BACKLOG) -> None:
        self._redis = redis
        self._backlog = backlog
        self._subscriptions = Subscriptions()
        self._pump: asyncio.Task[None] | None = None
        self._failures = 0

    async def publish(self, messages: Sequence[tuple[str, str]]) -> bool:
        """Sends (channel, payload) pairs in one pipeline. False where Redis is away: some may have gone."""

        async def send(client: Client) -> None:
            pipeline = client.pipeline(transaction=False)
            for channel, payload in messages:
                pipeline.publish(channel, payload)
            await pipeline.execute()

        try:
            if messages:
                await self._redis.call(send)
        except RedisAway:
            return False
        return True

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[AsyncIterator[str]]:
        """Enters when Redis has confirmed the channels, or after the deadline without; then "" follows."""
        listener = Listener(channels, backlog=self._backlog)
        self._subscriptions.join(listener)
        try:
            if self._pump is None or self._pump.done():
                self._pump = self._redis.spawn(self._listen())
            await self._entered(listener)
            yield listener
        finally:
            self._subscriptions.leave(listener)

    async def _entered(self, listener: Listener) -> None:
        try:
            async with asyncio.timeout(self._redis.timeout):
                await listener.live.wait()
        except TimeoutError:
            listener.gap = True

    async def _listen(self) -> None:
        while True:
            try:
                await self._session()
            except FAILURES as error:
                _log.info("the listening connection broke", error=str(error) or type(error).__name__)
            except Exception:  # noqa: BLE001 - logged with its trace
                # Nothing may end the one task that all listeners of this process hang on.
                _log.exception("listening failed")
            first, longest = BACKOFF
            await asyncio.sleep(random.uniform(0.5, 1) * min(longest, first * 2**self._failures))
            self._failures = min(self._failures + 1, 10)

    async def _session(self) -> None:
        wire = await self._redis.own_connection()
        try:
            outbox = self._subscriptions.connected()
            writer = asyncio.create_task(_write(wire, outbox))
            try:
                await self._read(wire, outbox)
            finally:
                writer.cancel()
                await asyncio.wait([writer])
        finally:
            self._subscriptions.disconnected()
            await wire.disconnect(nowait=True)

    async def _read(self, wire: AbstractConnection, outbox: asyncio.Queue[tuple[str, ...]]) -> None:
        asked = False
        while True:
            patience = self._redis.timeout if asked else IDLE
            reply = await wire.read_response(timeout=patience, disconnect_on_error=False)
            if reply is None and asked:
                raise TimeoutError("no sign of life")
            asked = reply is None
            if asked:
                outbox.put_nowait(("PING",))
                continue
            self._failures = 0
            self._subscriptions.received(reply)


async def _write(wire: AbstractConnection, outbox: asyncio.Queue[tuple[str, ...]]) -> None:
    """Ends when the connection does: the reader notices, too."""
    with suppress(*FAILURES):
        while True:
            await wire.send_command(*await outbox.get(), check_health=False)
