"""Health on the wire."""

from typing import Literal

from api.schemas.common import Shown


class Alive(Shown):
    """The process answers."""

    status: Literal["ok"]


class ServiceHealth(Shown):
    """Whether a service answered, and how fast."""

    ok: bool
    latency_ms: float


class Readiness(Shown):
    """`degraded` works on: jobs wait in the ledger, and clients poll the store."""

    status: Literal["ready", "degraded", "unavailable"]
    services: dict[str, ServiceHealth]
