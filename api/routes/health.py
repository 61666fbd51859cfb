"""What probes, scrapers and verifiers of tokens read."""

import asyncio
from dataclasses import asdict
from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request, Response

from api.answers import json
from api.backlog import metrics_text
from api.deps import PUBLIC, Public
from api.schemas.health import Alive, Readiness
from domain.bootstrap import Ping

routes = APIRouter(tags=["health"])

#: Seconds that a service has to answer a ping.
PATIENCE = 2.0
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
    found = await asyncio.gather(*(_ask(ping) for ping in services.pings.values()))
    health: dict[str, dict[str, Any]] = dict(zip(services.pings, found, strict=True))
    for name, connections in services.connections.items():
        health[name]["connections"] = asdict(connections())
    ready = all(each["ok"] for each in found)
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


async def _ask(ping: Ping) -> dict[str, Any]:
    begun = perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            await ping()
    except Exception:  # noqa: BLE001 - whatever it is, the service does not answer
        ok = False
    else:
        ok = True
    return {"ok": ok, "latency_ms": round((perf_counter() - begun) * 1000, 2)}
