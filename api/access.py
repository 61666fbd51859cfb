"""One line per request, in the form that is wanted."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from starlette.types import Scope

from domain.observe import hot_log
from domain.settings import Log

#: What must not reach a log as it is: it could end the line or the quotes, or steer a terminal.
_UNSAFE = re.compile(rb"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
#: Colours of statuses by their first digit, as in morgan's form `dev`.
_COLOURS = {2: 32, 3: 36, 4: 33, 5: 31}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request."""

    scope: Scope
    #: The template of its path.
    route: str
    #: As counted in metrics: those that HTTP does not know are OTHER.
    method: str
    status: int
    #: Bytes of the body as sent.
    length: int
    seconds: float


AccessLog: TypeAlias = Callable[[Answered], None]


def access_log(settings: Log) -> AccessLog:
    """Writes to standard error, where all logs go; nothing where the level is above INFO."""
    form = settings.access or ("json" if settings.format == "json" else "dev")
    if form == "json":
        return _json(settings)
    if form == "off" or settings.level in {"WARNING", "ERROR"}:
        return lambda _answered: None
    line = combined if form == "combined" else _dev(colours=sys.stderr.isatty())
    return lambda answered: print(line(answered), file=sys.stderr)  # noqa: T201 - a log of its own form


def _json(settings: Log) -> AccessLog:
    write = hot_log(settings.model_copy(update={"format": "json"}), "api.requests")

    def log(answered: Answered) -> None:
        facts: dict[str, Any] = {
            "method": answered.method,
            "route": answered.route,
            "status": answered.status,
            "ms": round(answered.seconds * 1000, 1),
            "account_id": answered.scope.get("account_id"),
            "request_id": answered.scope["request_id"],
        }
        trace_id = answered.scope.get("trace_id")
        write("request", {**facts, "trace_id": trace_id} if trace_id else facts)

    return log


def _dev(*, colours: bool) -> Callable[[Answered], str]:
    def line(answered: Answered) -> str:
        status = str(answered.status)
        colour = _COLOURS.get(answered.status // 100)
        if colours and colour:
            status = f"\x1b[{colour}m{status}\x1b[0m"
        milliseconds = f"{answered.seconds * 1000:.3f} ms"
        return f"{_method(answered)} {_target(answered)} {status} {milliseconds} - {answered.length}"

    return line


def combined(answered: Answered, *, at: datetime | None = None) -> str:
    """Apache's combined form. The user is the account; a query is logged as it came."""
    scope = answered.scope
    now = at or datetime.now(UTC)
    stamp = f"{now:%d}/{_MONTHS[now.month - 1]}/{now:%Y:%H:%M:%S} +0000"
    client = (scope.get("client") or ("-",))[0]
    request = f"{_method(answered)} {_target(answered)} HTTP/{scope.get('http_version', '1.1')}"
    sent = answered.length or "-"
    return (
        f'{client} - {scope.get("account_id") or "-"} [{stamp}] "{request}" {answered.status} {sent} '
        f'"{_header(scope, b"referer")}" "{_header(scope, b"user-agent")}"'
    )


def _method(answered: Answered) -> str:
    return _safe(str(answered.scope.get("sent_method", answered.method)).encode())


def _target(answered: Answered) -> str:
    scope = answered.scope
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return _safe(path + (b"?" + query if query else b""))


def _header(scope: Scope, name: bytes) -> str:
    return _safe(next((value for each, value in scope["headers"] if each == name), b"-"))


def _safe(raw: bytes) -> str:
    return _UNSAFE.sub(lambda found: b"\\x%02x" % found[0][0], raw).decode("ascii")
