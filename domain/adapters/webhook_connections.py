"""Connections of webhooks: names are looked up here, and lead to public addresses alone."""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import httpcore

from domain.adapters.webhook_addresses import is_public

#: Seconds for one address of a name, where there is another.
CONNECT_TIME = 3.0
#: Lookups on their way at a time: of names that were answered fast the last time, of those that were slow or
#: not answered, and of those that were not asked for yet.
QUICK, SLOW, NEW = 16, 16, 16
#: Seconds after which a lookup is slow. From then on it keeps no quick or new name waiting.
SLOW_AFTER = 2.0
#: Threads that look up names. Few are there but while name servers hang.
THREADS = 512
#: Names of which it is remembered how fast they were.
REMEMBERED = 10_000


class Refused(Exception):
    """A name leads to where webhooks may not go."""


class Unresolved(Exception):
    """A name leads nowhere."""


class Resolver:
    """Looks names up on threads of its own. Those who ask for one name at the same time share the answer.

    A name server that hangs holds a thread for each of its names, for longer than a call waits, and nobody
    can end that. So quick, slow and new names have each a part of the lookups, and a lookup that turns out
    slow leaves its part to others.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-names")
        self._asked: dict[str, asyncio.Task[list[str]]] = {}
        self._quick, self._slow, self._new = (asyncio.Semaphore(each) for each in (QUICK, SLOW, NEW))
        #: By name whether the last lookup was slow; oldest first.
        self._was_slow: dict[str, bool] = {}

    async def addresses(self, host: str) -> list[str]:
        """All addresses of the name, in the order to try them. Raises Unresolved."""
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.create_task(self._ask(host))
            asked.add_done_callback(lambda done: self._answered(host, done))
        return await asyncio.shield(asked)

    def close(self) -> None:
        """Idempotent. Threads that still wait for an answer are left to it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, host: str) -> list[str]:
        was_slow = self._was_slow.get(host)
        part = self._new if was_slow is None else self._slow if was_slow else self._quick
        async with part:
            began, loop = monotonic(), asyncio.get_running_loop()
            lookup = loop.run_in_executor(self._threads, _look_up, host)
            await asyncio.wait([lookup], timeout=None if was_slow else SLOW_AFTER)
        try:
            return await lookup
        finally:
            self._was_slow.pop(host, None)
            self._was_slow[host] = monotonic() - began > SLOW_AFTER
            if len(self._was_slow) > REMEMBERED:
                del self._was_slow[next(iter(self._was_slow))]

    def _answered(self, host: str, done: "asyncio.Task[list[str]]") -> None:
        del self._asked[host]
        if not done.cancelled():
            # Whoever asked may have gone.
            done.exception()


def _look_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unresolved(host) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedBackend(httpcore.AnyIOBackend):
    """Connects to addresses that it has looked up and judged itself, so that no name can change meanwhile.

    A name of which one address is refused is refused.
    """

    def __init__(self, resolver: Resolver, *, loopback: bool) -> None:
        self._resolver = resolver
        self._loopback = loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises Refused, Unresolved, and what httpcore raises where no address could be connected to."""
        addresses = await self._resolver.addresses(host)
        if not all(is_public(address, loopback=self._loopback) for address in addresses):
            raise Refused(host)
        *others, last = addresses
        for address in others:
            try:
                return await super().connect_tcp(address, port, CONNECT_TIME, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await super().connect_tcp(last, port, timeout, local_address, socket_options)
