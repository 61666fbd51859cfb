"""Traces: what one request set off, across processes and services.

Off until `use` is called, which `domain.bootstrap.tracing` does where the settings name a collector. As with
logs, a process has one: whoever has something to tell calls the functions here. While it is off they do
nothing, and nothing of OpenTelemetry is imported for them.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["server", "consumer", "producer", "internal"]
Facts: TypeAlias = Mapping[str, str | int]

#: Where the trace id stands in a `traceparent`, as W3C has it.
_TRACE_ID = slice(3, 35)


class Tracing(Protocol):
    """What `domain/adapters/otel.py` has."""

    def span(self, name: str, facts: Facts, *, kind: Kind, parent: str | None) -> AbstractContextManager[Any]:
        """The current span while it is entered; see `span`."""

    def batch(self, name: str, origins: Sequence[Any]) -> AbstractContextManager[Any]:
        """The current span of work that is done for several at once: see `batch`."""

    def origin(self) -> Any:
        """The current span; None where there is none."""

    def traceparent(self) -> str | None:
        """The current span's, as W3C has it."""

    def describe(self, name: str | None, facts: Facts) -> None:
        """Adds facts to the current span, and renames it."""

    def failed(self, error: BaseException | None) -> None:
        """Marks the current span as one that failed."""

    def mongo_listeners(self) -> Sequence[Any]:
        """What a MongoDB client tells its commands."""

    def watch_redis(self, client: Any) -> None:
        """Has the commands of a Redis client traced."""

    def watch_s3(self, client: Any) -> None:
        """Has the calls of an S3 client traced."""


class _Off:
    """Traces nothing."""

    def span(self, *_: Any, **__: Any) -> AbstractContextManager[Any]:
        return _NOTHING

    def batch(self, *_: Any) -> AbstractContextManager[Any]:
        return _NOTHING

    def origin(self) -> None:
        return None

    def traceparent(self) -> None:
        return None

    def describe(self, *_: Any) -> None:
        return None

    def failed(self, _error: BaseException | None) -> None:
        return None

    def mongo_listeners(self) -> Sequence[Any]:
        return ()

    def watch_redis(self, _client: Any) -> None:
        return None

    def watch_s3(self, _client: Any) -> None:
        return None


_NOTHING = nullcontext()
OFF: Tracing = _Off()
_tracing = OFF


def use(tracing: Tracing) -> None:
    """Traces by this from now on; `OFF` ends it. Clients that are open stay as they are."""
    global _tracing  # noqa: PLW0603 - a process has one, as it has one log
    _tracing = tracing


def is_on() -> bool:
    """Whether anything is traced."""
    return _tracing is not OFF


def span(
    name: str, facts: Facts, *, kind: Kind = "internal", parent: str | None = None
) -> AbstractContextManager[Any]:
    """What happens in here is one span, below `parent` (a `traceparent`) or below the current one."""
    return _tracing.span(name, facts, kind=kind, parent=parent)


def batch(name: str, origins: Sequence[Any]) -> AbstractContextManager[Any]:
    """What happens in here is done for all whose `origin` is given; None among them is nobody.

    For one it is a span of its trace. For several it is a trace of its own, whose span links to theirs, and
    theirs link to it.
    """
    return _tracing.batch(name, origins)


def origin() -> Any:
    """Who asks for what a batch will do, for `batch`."""
    return _tracing.origin()


def traceparent() -> str | None:
    """What continues this trace elsewhere, in the form of W3C Trace Context."""
    return _tracing.traceparent()


def trace_id(traceparent: str | None) -> str | None:
    """The id of its trace, in hex."""
    return traceparent[_TRACE_ID] if traceparent else None


def describe(facts: Facts, *, name: str | None = None) -> None:
    """Adds facts to the current span, and renames it."""
    _tracing.describe(name, facts)


def failed(error: BaseException | None = None) -> None:
    """Marks the current span as one that failed, by this error."""
    _tracing.failed(error)


def mongo_listeners() -> Sequence[Any]:
    """What a MongoDB client is to tell its commands."""
    return _tracing.mongo_listeners()


def watch_redis(client: Any) -> None:
    """Has the commands of a Redis client traced."""
    _tracing.watch_redis(client)


def watch_s3(client: Any) -> None:
    """Has the calls of an S3 client traced."""
    _tracing.watch_s3(client)
