"""Load shedding: how many requests one process works on, and how many only wait."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import overloaded, problem_of

#: Answered however much there is to do.
ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
#: Waits and streams that may be open for each request at work: they cost memory, and next to no time.
PARKED_PER_PLACE = 16


class Gate:
    """Counts the requests of one process."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.working = 0
        self.waiting = 0

    @contextmanager
    def parked(self) -> Iterator[None]:
        """Gives the request's place to others while it waits. Raises `overloaded` when too many do."""
        if self.waiting >= self.places * PARKED_PER_PLACE:
            raise overloaded()
        self.working -= 1
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
            self.working += 1


class LoadShedding:
    """Refuses what comes while every place is taken, at once and cheaply: 503 with Retry-After."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        gate = self._gate
        if gate.working >= gate.places:
            answer = problem_of(overloaded(), scope.get("request_id"))
            await answer(scope, receive, send)
            return
        gate.working += 1
        try:
            await self._app(scope, receive, send)
        finally:
            gate.working -= 1
