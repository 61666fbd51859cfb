"""What happens around every request. Pure ASGI: it is on the accept path."""

import re
import uuid
from collections.abc import Mapping
from time import perf_counter

from prometheus_client import Counter, Histogram
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from api.access import AccessLog, Answered
from api.docs_page import POLICY
from api.errors import BadRequest, failed, problem_of
from api.gate import ALWAYS_OPEN
from domain.observe import logger

log = logger(__name__)

REQUESTS = Counter(
    "stockyard_http_requests_total", "Requests by method, route and status.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "stockyard_http_request_seconds",
    "Seconds from a request's arrival to the end of its answer.",
    ["method", "route"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
#: Methods that metrics tell apart: anybody can invent others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: A stream has no end, so there is nothing that HEAD could tell of it.
STREAM = "/v1/stream"

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{8,128}")
#: On every answer.
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"cross-origin-resource-policy", b"same-site"),
]
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
#: The documentation's page has a style of its own.
_DOCS_POLICY = (b"content-security-policy", POLICY)
_NO_STORE = (b"cache-control", b"no-store")


class RequestContext:
    """Gives each request its id, headers, metrics and one log line; answers what nobody else could."""

    def __init__(self, app: ASGIApp, log_access: AccessLog) -> None:
        self._app = app
        self._log_access = log_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, _without_trace(send) if scope["type"] == "lifespan" else send)
            return
        begun = perf_counter()
        request_id = _request_id(scope)
        answer = _Answer(send, request_id, docs=scope["path"] == "/docs", bodiless=scope["method"] == "HEAD")
        sent = {"sent_method": scope["method"], "method": _routed_method(scope)}
        scope = {**scope, **sent, "request_id": request_id, "answer_headers": answer.more}
        tokens = bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, answer)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if not answer.status:
                await failed(request_id)(scope, receive, answer)
        finally:
            _record(scope, answer, perf_counter() - begun, self._log_access)
            reset_contextvars(**tokens)


class _Answer:
    """`send` with the headers that every answer has."""

    __slots__ = ("_bodiless", "_docs", "_request_id", "_send", "length", "more", "status")

    def __init__(self, send: Send, request_id: str, *, docs: bool, bodiless: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._docs = docs
        self._bodiless = bodiless
        #: 0 until the answer has begun.
        self.status = 0
        #: Bytes of the body that were sent.
        self.length = 0
        #: What a dependency adds, whatever the answer will be.
        self.more: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = (b"x-request-id", self._request_id.encode())
            headers = [*message["headers"], *SECURITY_HEADERS, *self.more, own]
            headers.append(_DOCS_POLICY if self._docs else _POLICY)
            if all(name != b"cache-control" for name, _ in message["headers"]):
                headers.append(_NO_STORE)
            message = {**message, "headers": headers}
        elif self._bodiless and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        else:
            self.length += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid.uuid4())


def _routed_method(scope: Scope) -> str:
    """GET for HEAD: every route that answers the one answers the other."""
    method: str = scope["method"]
    return "GET" if method == "HEAD" and scope["path"] != STREAM else method


def _record(scope: Scope, answer: _Answer, seconds: float, log_access: AccessLog) -> None:
    template = getattr(scope.get("route"), "path", "unmatched")
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    REQUESTS.labels(method, template, answer.status).inc()
    REQUEST_SECONDS.labels(method, template).observe(seconds)
    if scope["path"] not in ALWAYS_OPEN:
        log_access(Answered(scope, template, method, answer.status, answer.length, seconds))


def _without_trace(send: Send) -> Send:
    """The lifespan's `send`: a failed start has been logged, in one line, by who knows why."""

    async def quiet(message: Message) -> None:
        await send({"type": message["type"]})

    return quiet


class BodyLimit:
    """Refuses bodies past the limit: by their announced length, or once that much has come."""

    def __init__(self, app: ASGIApp, limit: int, files: Mapping[str, int]) -> None:
        """`files` has the limits of paths that take files."""
        self._app = app
        self._limit = limit
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] == "http":
            limit = self._files.get(scope["path"], self._limit)
            length = next((value for name, value in scope["headers"] if name == b"content-length"), None)
            if length is None:
                receive = _counted(receive, limit)
            elif not length.isdigit() or int(length) > limit:
                await problem_of(_too_large(limit), scope.get("request_id"))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def count() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return count


def _too_large(limit: int) -> BadRequest:
    return BadRequest(413, "body_too_large", f"A body has at most {limit} bytes.")


class CompressedReads(GZipMiddleware):
    """Compresses what is read. Answers to writes are too small to be worth a look."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        reads = scope["type"] == "http" and scope["method"] == "GET"
        await (super().__call__ if reads else self.app)(scope, receive, send)
