"""What uvicorn speaks HTTP with."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import BadRequest, problem_of
from api.middleware import SECURITY_HEADERS

#: Bytes of a request's line and headers. The parser itself would collect them without end.
MAX_HEAD = 65_536


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

    def shutdown(self) -> None:
        """As uvicorn calls it on each open connection, before it waits for them: waits and streams end."""
        self.app.state.stopping.set()
        super().shutdown()

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
