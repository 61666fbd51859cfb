"""What uvicorn speaks HTTP with."""

import asyncio
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import BadRequest, problem_of
from api.middleware import SECURITY_HEADERS

#: Bytes of a request's line and headers. The parser itself would collect them without end.
MAX_HEAD = 65_536
#: Seconds that an idle connection stays open after the process was told to stop.
LINGER = 1.0
#: Seconds for what has arrived in the last moment.
LAST_LOOK = 0.05


class HeadTooLarge(Exception):
    """More came than the line and headers of a request may have."""


class Connection(HttpToolsProtocol):
    """uvicorn's, which tells the app of a stop early, and answers what is no HTTP as everything else.

    The head of a request is bounded, and what comes as trailers is no header of it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: Bytes of the head that has begun; None between heads.
        self._head: int | None = None
        self._too_large = False

    def data_received(self, data: bytes) -> None:
        """As the transport calls it. A head that goes on, and has still not ended, grows by all of it."""
        before = self._head
        super().data_received(data)
        if before is not None and self._head is not None and not self.transport.is_closing():
            self._head = max(self._head, before + len(data))
            if self._head > MAX_HEAD:
                self._too_large = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """As the parser calls it."""
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """As the parser calls it, for a part of the line. Raises HeadTooLarge."""
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """As the parser calls it, for trailers, too. Raises HeadTooLarge."""
        if self._head is not None:
            self._grow(len(name) + len(value) + len(b": \r\n"))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """As the parser calls it."""
        self._head = None
        super().on_headers_complete()
        if self.app.state.stopping.now:
            self.cycle.keep_alive = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As asyncio calls it. One that was taken just before a stop is not told of it by uvicorn."""
        super().connection_made(transport)
        if self.app.state.stopping.now:
            self.shutdown()

    def shutdown(self) -> None:
        """As uvicorn calls it on each open connection, before it waits for them: waits and streams end.

        An idle one is closed a moment later: a request that is on its way is answered, with
        `Connection: close`. Cut at once, its client could not tell whether it was done.
        """
        self.app.state.stopping.set()
        if self._idle():
            # Looked at twice: what has come while the process was busy is read in between.
            self.loop.call_later(LINGER, self.loop.call_later, LAST_LOOK, self._close_if_idle)
        elif not self.cycle.response_started:
            # Its answer says that the connection closes.
            super().shutdown()

    def on_response_complete(self) -> None:
        """As uvicorn calls it. An answer that had begun before the stop said nothing of it."""
        super().on_response_complete()
        if self.app.state.stopping.now and self._idle() and not self.transport.is_closing():
            self.shutdown()

    def _close_if_idle(self) -> None:
        if self._idle() and not self.transport.is_closing():
            self.transport.close()

    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """As uvicorn calls it for what its parser cannot read: a method that is none, a broken header."""
        self.transport.write(
            _whole(_TOO_LARGE if self._too_large else BadRequest(400, "malformed_request", msg))
        )
        self.transport.close()

    def _grow(self, count: int) -> None:
        self._head = (self._head or 0) + count
        if self._head > MAX_HEAD:
            # Ends the parsing: uvicorn asks for the answer to what cannot be read.
            self._too_large = True
            raise HeadTooLarge


_TOO_LARGE = BadRequest(
    431, "headers_too_large", f"A request's line and headers have at most {MAX_HEAD} bytes."
)


def _whole(refusal: BadRequest) -> bytes:
    """The whole answer. No app has seen the request, so the middleware's headers are added here."""
    request_id = str(uuid4())
    answer = problem_of(refusal, request_id)
    headers = [
        *answer.raw_headers,
        *SECURITY_HEADERS,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    status = HTTPStatus(refusal.status_code)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}".encode(),
        *(name + b": " + value for name, value in headers),
    ]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
