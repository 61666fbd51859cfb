"""Redis: the one bounded way to call it, and the cache.

Nothing in Redis is the truth, so no command may hold the work up: each has a deadline, and after a failure
commands are refused at once, but for one a second that looks whether Redis is back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import structlog
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as Client
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from domain import settings, telemetry
from domain.batching import Batcher
from domain.ports import Connections

Result = TypeVar("Result")
#: What is called with the client, within the deadline.
Command: TypeAlias = Callable[[Client], Awaitable[Result]]

#: Seconds between looks at a Redis that is away.
PAUSE = 1.0
#: Connections of one process, but for the one that listens.
POOL_SIZE = 32
#: Keys of one read of the cache.
MAX_READ = 256
#: What a client or the network says when Redis is away.
FAILURES = (RedisError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)


class RedisAway(Exception):
    """Redis did not answer in time, refused, or is known to be away."""


class Circuit:
    """Open while Redis is away; then one call per `PAUSE` is let through, to look."""

    def __init__(self) -> None:
        self._away = False
        self._next_look = 0.0

    def admits(self) -> bool:
        """Whether to call now. The caller tells the outcome by `worked` or `failed`."""
        if not self._away:
            return True
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + PAUSE
        return True

    def worked(self) -> None:
        """A call was answered."""
        if self._away:
            self._away = False
            _log.info("Redis is back")

    def failed(self, error: BaseException) -> None:
        """A call was not answered."""
        if not self._away:
            self._away = True
            _log.warning(
                "Redis is away: the work goes on without it", error=str(error) or type(error).__name__
            )
        self._next_look = time.monotonic() + PAUSE


class RedisLink:
    """One pool of connections to Redis, shared by locks, cache, pub/sub and leadership of a process."""

    def __init__(self, client: Client, *, timeout: float) -> None:
        self.client = client
        #: Seconds that one call may take, connecting and waiting for a free connection included.
        self.timeout = timeout
        self._circuit = Circuit()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def call(self, command: Command[Result]) -> Result:
        """Runs `command` within the deadline. Raises RedisAway, at once while Redis is known to be away."""
        if not self._circuit.admits():
            raise RedisAway
        return await self._attempt(command)

    async def ping(self) -> None:
        """Asks Redis itself, however the last calls went. Raises RedisAway."""
        await self._attempt(lambda client: client.ping())

    async def _attempt(self, command: Command[Result]) -> Result:
        try:
            async with asyncio.timeout(self.timeout):
                result = await command(self.client)
        except FAILURES as error:
            self._circuit.failed(error)
            raise RedisAway(str(error) or "no answer in time") from error
        self._circuit.worked()
        return result

    async def own_connection(self) -> AbstractConnection:
        """A connection beside the pool; its user closes it. Raises one of FAILURES."""
        pool: Any = self.client.connection_pool
        connection = pool.make_connection()
        async with asyncio.timeout(self.timeout):
            await connection.connect()
        return cast(AbstractConnection, connection)

    def spawn(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Runs `work` beside its caller until it ends or the link is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Ends what runs beside, then closes all connections."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.aclose()
        await self.client.connection_pool.aclose()


def connect(redis: settings.Redis) -> RedisLink:
    """A link to the server of the settings. Opens nothing: connections come with the first calls."""
    timeout = redis.timeout.total_seconds()
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        redis.url,
        max_connections=POOL_SIZE,
        timeout=timeout,
        # The link's deadline covers reads and writes; a socket timeout would cost a task for each write.
        socket_timeout=None,
        socket_connect_timeout=timeout,
        # Once again on a fresh connection, as the old one may be of a server that has been restarted.
        retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        decode_responses=True,
        encoding_errors="replace",
        protocol=2,
        driver_info=None,
    )
    client = Client(connection_pool=pool)
    telemetry.watch_redis(client)
    return RedisLink(client, timeout=timeout)


def connections(redis: RedisLink) -> Connections:
    """Of the link's pool."""
    (idle, _), (used, _) = redis.client.connection_pool.get_connection_count()
    return Connections(open=idle + used, in_use=used)


async def close(redis: RedisLink) -> None:
    """The end of `connect`."""
    await redis.aclose()


class RedisCache:
    """`ports.Cache`. Reads that come at the same time go as one command."""

    def __init__(self, redis: RedisLink) -> None:
        self._redis = redis
        self._reads: Batcher[str, str | None] = Batcher(self._read, max_size=MAX_READ)

    async def get(self, key: str) -> str | None:
        """The value; None, too, when Redis is away."""
        return await self._reads.submit(key)

    async def put(self, items: Mapping[str, str], *, seconds: int) -> None:
        """Sets all in one pipeline, to vanish after `seconds`."""

        async def send(client: Client) -> None:
            pipeline = client.pipeline(transaction=False)
            for key, value in items.items():
                pipeline.set(key, value, ex=seconds)
            await pipeline.execute()

        if items:
            await self._quietly(send)

    async def add(self, items: Mapping[str, str], *, seconds: int) -> None:
        """Sets those that are not there, in one pipeline, to vanish after `seconds`."""

        async def send(client: Client) -> None:
            pipeline = client.pipeline(transaction=False)
            for key, value in items.items():
                pipeline.set(key, value, ex=seconds, nx=True)
            await pipeline.execute()

        if items:
            await self._quietly(send)

    async def drop(self, keys: Sequence[str]) -> None:
        """Deletes the keys. While Redis is away they stay until their time is over."""
        if keys:
            await self._quietly(lambda client: client.unlink(*keys))

    async def ping(self) -> None:
        """Raises RedisAway."""
        await self._redis.ping()

    async def _read(self, keys: list[str]) -> Sequence[str | None]:
        try:
            # Text and no bytes: the pool decodes.
            return cast(list[str | None], await self._redis.call(lambda client: client.mget(keys)))
        except RedisAway:
            return [None] * len(keys)

    async def _quietly(self, command: Command[Any]) -> None:
        try:
            await self._redis.call(command)
        except RedisAway:
            return
