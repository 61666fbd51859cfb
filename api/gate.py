"""Load shedding: how many requests one process works on, and how many only wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import overloaded, problem_of

SHED = Counter("stockyard_http_requests_shed_total", "Requests that were refused for want of room.")
#: Answered however much there is to do.
ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
#: Waits and streams that may be open for each request at work: they cost memory, and next to no time.
PARKED_PER_PLACE = 16


class Gate:
    """Counts the requests of one process."""

    def __init__(self, places: int, *, longest_wait: float = inf) -> None:
        self.places = places
        self.working = 0
        self.waiting = 0
        self.shed = 0
        self._longest_wait = longest_wait
        #: Seconds that somebody has waited for a connection to the store; known once there are services.
        self.store_wait: Callable[[], float] = lambda: 0.0

    def full(self) -> bool:
        """Whether there is too much to do: every place is taken, or the store's connections are.

        More requests would wait behind those that wait already, and make all of them late.
        """
        return self.working >= self.places or self.store_wait() > self._longest_wait

    def counts(self) -> dict[str, int]:
        """What `/readyz` tells."""
        return {"working": self.working, "waiting": self.waiting, "places": self.places, "shed": self.shed}

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
        if gate.full():
            gate.shed += 1
            SHED.inc()
            answer = problem_of(overloaded(), scope.get("request_id"))
            await answer(scope, receive, send)
            return
        gate.working += 1
        try:
            await self._app(scope, receive, send)
        finally:
            gate.working -= 1
