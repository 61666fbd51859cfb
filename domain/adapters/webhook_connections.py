"""Connections of webhooks: names are looked up here, and lead to public addresses alone."""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore

from domain.adapters.webhook_addresses import is_public

#: Seconds for one address of a name, where there is another.
CONNECT_TIME = 3.0
#: Threads that look up names: a name server that does not answer holds one for each of its names.
LOOKUPS = 32


class Refused(Exception):
    """A name leads to where webhooks may not go."""


class Unresolved(Exception):
    """A name leads nowhere."""


class Resolver:
    """Looks names up on threads of its own. Those who ask for one name at the same time share the answer."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="webhook-names")
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """All addresses of the name, in the order to try them. Raises Unresolved."""
        asked = self._asked.get(host)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[host] = loop.run_in_executor(self._threads, _look_up, host)
            asked.add_done_callback(lambda done: self._answered(host, done))
        return await asyncio.shield(asked)

    def close(self) -> None:
        """Idempotent. Threads that still wait for an answer are left to it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answered(self, host: str, done: "asyncio.Future[list[str]]") -> None:
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
