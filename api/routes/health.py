"""What probes, scrapers and verifiers of tokens read."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from api.answers import json
from api.backlog import metrics_text
from api.deps import PUBLIC, Public
from api.schemas.health import Alive, Readiness
from domain.control.asking import ask_all

routes = APIRouter(tags=["health"])

#: Without it nothing works; without the others jobs wait, and clients poll.
ESSENTIAL = "mongodb"


@routes.get("/healthz", openapi_extra=PUBLIC, summary="Alive")
async def healthz() -> Alive:
    """The process answers."""
    return Alive(status="ok")


@routes.get(
    "/readyz",
    response_model=Readiness,
    openapi_extra=PUBLIC,
    responses={503: {"model": Readiness}},
    summary="Ready",
)
async def readyz(request: Request, services: Public) -> Response:
    """Each service, with its latency and connections. 503 only where the store is away or takes no writes."""
    found = await ask_all(services.pings)
    # Anybody may ask: why one does not answer is for ops.
    health: dict[str, dict[str, Any]] = {
        each.name: {"ok": each.ok, "latency_ms": each.latency_ms} for each in found
    }
    for name, connections in services.connections.items():
        health[name]["connections"] = asdict(connections())
    ready = all(each.ok for each in found)
    able = ready or bool(health[ESSENTIAL]["ok"])
    status = "ready" if ready else "degraded" if able else "unavailable"
    work = request.app.state.gate.counts()
    return json({"status": status, "services": health, "requests": work}, 200 if able else 503)


@routes.get("/metrics", openapi_extra=PUBLIC, response_class=Response, summary="Prometheus metrics")
async def metrics(request: Request) -> Response:
    """Of this process, or of all workers that share `PROMETHEUS_MULTIPROC_DIR`; and the queues."""
    text, media_type = await metrics_text(request.app.state.backlog)
    return Response(text, media_type=media_type)


@routes.get("/.well-known/jwks.json", openapi_extra=PUBLIC, response_class=Response, summary="Token keys")
async def jwks(services: Public) -> Response:
    """The public keys of access tokens, as a JWK set (RFC 7517)."""
    return json(services.accounts.jwks(), headers={"Cache-Control": "public, max-age=300"})
