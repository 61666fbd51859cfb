"""Calling webhooks. Where they lead was chosen by strangers: see `webhook_addresses` for where they may."""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

import httpcore
import httpx

from domain.adapters.webhook_addresses import is_public
from domain.adapters.webhook_connections import GuardedBackend, Refused, Resolver, Unresolved
from domain.ports import WebhookAnswer
from domain.settings import Webhooks

#: Characters of an answer that are kept, and the most of its bytes that are read for them.
SHOWN, READ = 1000, 4096
#: The longest URL, and the greatest port.
LONGEST_URL, LAST_PORT = 2000, 65535
#: Seconds that an answer's body may take once its status is known: only its beginning is shown.
BODY_TIME = 1.0
#: Idle connections that are kept, and for how many seconds.
IDLE, IDLE_TIME = 50, 10.0
_PORTS = {"https": 443, "http": 80}


#: What a receiver, its name server or its URL can do to a call, and what the log calls it. The first fits.
FAILURES: tuple[tuple[str, tuple[type[Exception], ...]], ...] = (
    ("address_refused", (Refused,)),
    ("name_unresolved", (Unresolved,)),
    ("timeout", (TimeoutError, httpcore.TimeoutException)),
    ("tls_failed", (ssl.SSLError,)),
    ("connection_failed", (httpcore.NetworkError, OSError)),
    ("bad_answer", (httpcore.ProtocolError,)),
    # A ValueError is about a name that TLS cannot ask for.
    ("url_refused", (httpcore.UnsupportedProtocol, ValueError)),
)


@dataclass(slots=True)
class _Heard:
    """What has come of an answer so far."""

    status: int | None = None
    retry_after: str | None = None
    body: bytes = b""


class HttpWebhookSender:
    """`ports.WebhookSender`. Proxies of the environment are not used, and answers are not unpacked."""

    def __init__(self, settings: Webhooks, *, only_https: bool, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is for receivers whose certificates are not of the usual authorities."""
        self._settings = settings
        self._only_https = only_https
        self._tls = tls
        self._resolver = Resolver()
        #: Made by the first call: to read all authorities takes a while, and most processes never call.
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def close(self) -> None:
        """Idempotent."""
        if self._pool is not None:
            await self._pool.aclose()
        self._resolver.close()

    def objection(self, url: str) -> str | None:
        """`form`, `scheme`, `credentials`, `port` or `address`; None where nothing speaks against it."""
        parts = _parts(url)
        if parts is None:
            return "form"
        if parts.scheme not in _PORTS or (parts.scheme == "http" and self._only_https):
            return "scheme"
        if parts.userinfo:
            return "credentials"
        port = parts.port or _PORTS[parts.scheme]
        allowed = self._settings.ports
        if allowed and port not in allowed and not self._settings.allow_loopback:
            return "port"
        host = parts.raw_host.decode("ascii")
        return None if _is_name(host) or self._may_reach(host) else "address"

    async def send(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> WebhookAnswer:
        """One POST. `error` is one of FAILURES."""
        began, heard, error = monotonic(), _Heard(), None
        try:
            if self.objection(url) is not None:
                raise httpcore.UnsupportedProtocol
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                await self._exchange(url, body, headers, heard)
        except tuple(kind for _, kinds in FAILURES for kind in kinds) as raised:
            error = _error_of(raised)
        return WebhookAnswer(
            seconds=monotonic() - began,
            status=heard.status,
            # What breaks once the status is known changes nothing.
            error=error if heard.status is None else None,
            body=_shown(heard.body),
            retry_after=heard.retry_after,
        )

    def _connections(self) -> httpcore.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._tls or httpx.create_ssl_context(),
                max_connections=None,
                max_keepalive_connections=IDLE,
                keepalive_expiry=IDLE_TIME,
                network_backend=GuardedBackend(self._resolver, loopback=self._settings.allow_loopback),
            )
        return self._pool

    def _may_reach(self, address: str) -> bool:
        return is_public(address, loopback=self._settings.allow_loopback)

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str], heard: _Heard) -> None:
        parts = httpx.URL(url)
        target = httpcore.URL(
            scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path
        )
        sent = {"Host": parts.netloc.decode("ascii"), "Accept-Encoding": "identity", **headers}
        request = self._connections().stream("POST", target, headers=list(sent.items()), content=body)
        async with request as answer:
            heard.status = answer.status
            heard.retry_after = _header(answer, b"retry-after")
            if _header(answer, b"content-encoding") in {None, "identity"}:
                async with asyncio.timeout(BODY_TIME):
                    await _read(answer, heard)


async def _read(answer: httpcore.Response, heard: _Heard) -> None:
    """The body's beginning. Where more follows, leaving the answer closes the connection."""
    async for chunk in answer.aiter_stream():
        heard.body += chunk[: READ - len(heard.body)]
        if len(heard.body) >= READ:
            return


def _parts(url: str) -> httpx.URL | None:
    """The URL; None where it is none that names a host, or is not written plainly."""
    if len(url) > LONGEST_URL or not url.isprintable() or any(sign in url for sign in ' "<>\\^`{|}#'):
        return None
    try:
        parts = httpx.URL(url)
        host = parts.raw_host
    except (httpx.InvalidURL, ValueError):
        return None
    plain = host and parts.is_absolute_url and (parts.port is None or 0 < parts.port <= LAST_PORT)
    return parts if plain else None


def _is_name(host: str) -> bool:
    """Whether it has to be looked up. Numbers that stand for an address, such as `0x7f.1`, have, too."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    except OSError:
        return True
    return False


def _header(answer: httpcore.Response, name: bytes) -> str | None:
    value = next((value for each, value in answer.headers if each.lower() == name), None)
    return None if value is None else value.decode("latin-1")[:100].strip()


def _error_of(error: Exception) -> str:
    # httpcore tells of TLS as of any connection, and keeps what it was.
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__context__
    return next(code for code, kinds in FAILURES if isinstance(cause or error, kinds))


def _shown(body: bytes) -> str:
    """As text; what is no text, or could steer a terminal, is replaced."""
    text = body.decode("utf-8", "replace")[:SHOWN]
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
