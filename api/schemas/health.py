"""Health on the wire."""

from typing import Literal

from api.schemas.common import Shown


class Alive(Shown):
    """The process answers."""

    status: Literal["ok"]


class ConnectionsView(Shown):
    """The connections of the process that answers. Null where the client library does not tell.

    `waiting` are callers that wait for a connection, or for RabbitMQ's confirms; `failed` counts attempts to
    get a connection since the start.
    """

    open: int
    in_use: int | None = None
    waiting: int | None = None
    failed: int | None = None


class Work(Shown):
    """Requests of the process that answers, and how many it refused since its start."""

    working: int
    waiting: int
    places: int
    shed: int


class ServiceHealth(Shown):
    """Whether a service answered, and how fast."""

    ok: bool
    latency_ms: float
    connections: ConnectionsView | None = None


class Readiness(Shown):
    """`degraded` works on: jobs wait in the ledger, and clients poll the store."""

    status: Literal["ready", "degraded", "unavailable"]
    services: dict[str, ServiceHealth]
    requests: Work
