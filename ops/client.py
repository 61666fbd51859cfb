"""A lean HTTP/1.1 client for loads: many requests at once on kept connections, over several servers in turn.

On a machine that also runs the servers, what the client burns is missing there. A bare `Connection` spends
about 50 us of processor per request, where a full HTTP library spends a millisecond.

    async with Client(["http://127.0.0.1:8000"], token=token) as client:
        answer = await client.post("/v1/orders", body, key=new_id())
        order = (await client.get(f"/v1/orders/{answer.json()['id']}?wait=10")).json()
"""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools

#: Seconds that one answer may take; above the longest `?wait=`.
TIMEOUT = 45.0
#: Seconds over which a request that may be repeated is, while nobody answers or the answer is 503.
PATIENCE = 30.0
#: Pause before it is.
PAUSE = 0.2

_UNAVAILABLE = 503


class ClientError(Exception):
    """No answer, or not the one that was expected; the message says to which request."""


@dataclass(slots=True)
class Answer:
    """Status and body, and what was asked."""

    request: str
    status: int = 0
    body: bytearray = field(default_factory=bytearray)

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    def expect(self, *statuses: int) -> Self:
        """Itself. Raises ClientError where the status is none of these."""
        if self.status not in statuses:
            said = self.body[:300].decode(errors="replace")
            raise ClientError(f"{self.request}: answered {self.status} {said}")
        return self


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer("")
        self._done: asyncio.Future[Answer] | None = None
        self.open = True

    async def exchange(self, request: str, message: bytes) -> Answer:
        """Sends the message and reads its answer, however long that takes.

        Raises OSError where the connection ends before.
        """
        if self._transport is None or not self.open:
            raise ConnectionResetError("the server closed a kept connection")
        self._answer = Answer(request)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        try:
            return await self._done
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Idempotent."""
        self.open = False
        if self._transport is not None:
            self._transport.close()

    # -- what asyncio and httptools call ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.connection_lost(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self.close()
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError(str(exc or "the server closed the connection")))

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._answer.body += body

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._answer.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)


async def connect(url: str) -> Connection:
    """A connection to the server of that base URL. Raises OSError."""
    where = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, where.hostname or "", where.port or 80)
    return connection


class Client:
    """Requests to several servers in turn, as one account."""

    def __init__(self, urls: Iterable[str], *, token: str | None = None) -> None:
        self.token = token
        self._urls = tuple(urls)
        self._turns = itertools.cycle(self._urls)
        self._idle: dict[str, list[Connection]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        """Opens nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the kept connections."""
        for connection in itertools.chain.from_iterable(self._idle.values()):
            connection.close()
        self._idle.clear()

    def as_account(self, token: str) -> "Client":
        """The same servers, with connections of its own, as another account."""
        return Client(self._urls, token=token)

    async def get(self, path: str) -> Answer:
        """Repeated while the server is away."""
        return await self._patiently("GET", path, None, None)

    async def post(self, path: str, body: Any, *, key: str | None = None) -> Answer:
        """Repeated while the server is away if it has an Idempotency-Key; else sent once."""
        if key is None:
            return await self._once("POST", path, body, key)
        return await self._patiently("POST", path, body, key)

    async def _patiently(self, method: str, path: str, body: Any, key: str | None) -> Answer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                answer = await self._once(method, path, body, key)
            except (OSError, TimeoutError) as error:
                if loop.time() > deadline:
                    raise ClientError(f"{method} {path}: no answer ({error!r})") from error
            else:
                if answer.status != _UNAVAILABLE or loop.time() > deadline:
                    return answer
            await asyncio.sleep(PAUSE)

    async def _once(self, method: str, path: str, body: Any, key: str | None) -> Answer:
        url = next(self._turns)
        connection = await self._connection(url)
        message = self._message(method, url, path, body, key)
        async with asyncio.timeout(TIMEOUT):
            answer = await connection.exchange(f"{method} {path}", message)
        if connection.open:
            self._idle[url].append(connection)
        return answer

    async def _connection(self, url: str) -> Connection:
        while self._idle[url]:
            connection = self._idle[url].pop()
            if connection.open:
                return connection
        return await connect(url)

    def _message(self, method: str, url: str, path: str, body: Any, key: str | None) -> bytes:
        head = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
        if self.token is not None:
            head.append(f"Authorization: Bearer {self.token}")
        if key is not None:
            head.append(f"Idempotency-Key: {key}")
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        if content:
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        return "\r\n".join([*head, "", ""]).encode() + content
