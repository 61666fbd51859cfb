"""The app factory. Nothing is opened before the app's lifespan begins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse

from api import docs_page, errors, openapi
from api.access import access_log
from api.backlog import Backlog
from api.gate import Gate, LoadShedding
from api.middleware import BodyLimit, CompressedReads, RequestContext
from api.routes import (
    accounts,
    asyncapi,
    audit,
    auth,
    carts,
    checkout,
    discounts,
    events,
    health,
    inbox,
    inventory,
    jobs,
    keys,
    locations,
    me,
    media,
    movements,
    ops_control,
    ops_dead,
    ops_jobs,
    ops_log,
    ops_pools,
    order_life,
    orders,
    payments,
    products,
    reservations,
    search,
    subscriptions,
    transfers,
    webhooks,
)
from api.tracing import Traced
from api.waiting import Stopping
from domain import telemetry
from domain.bootstrap import open_services
from domain.control.attendance import memory_bytes
from domain.control.processes import Facts
from domain.control.rules import API
from domain.observe import logger
from domain.settings import Settings

log = logger(__name__)

#: In the order in which they are looked through: the busiest first.
FEATURES = (
    orders, order_life, payments, jobs, reservations, carts, checkout, search, transfers, products,
    inventory, movements, locations, media, audit, ops_control, ops_pools, ops_jobs, ops_dead, ops_log,
    discounts, inbox, subscriptions, events, webhooks, asyncapi, auth, me, keys, accounts, health,
)  # fmt: skip
#: Headers beyond the simple ones that browsers may send, and read.
SENT = [
    "Authorization",
    "Cart-Token",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
]
READ = [
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
]


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over the given settings, or those of the environment."""
    settings = settings or Settings()
    docs = settings.api.docs
    app = FastAPI(
        title="Stockyard",
        version=version("stockyard"),
        summary="A worker-centric job platform for commerce.",
        openapi_tags=openapi.TAGS,
        openapi_url="/openapi.json" if docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=[
            route
            for feature in FEATURES
            if docs or feature is not asyncapi
            for route in feature.routes.routes
        ],
        lifespan=partial(_lifespan, settings=settings),
    )
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    if docs:
        app.add_route("/docs", partial(_docs, app), include_in_schema=False)
    errors.install(app)
    _add_middleware(app, settings)
    return app


async def _docs(app: FastAPI, _request: Request) -> Response:
    return HTMLResponse(docs_page.render(app.openapi()))


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: Settings) -> AsyncIterator[None]:
    opened = False
    try:
        async with (
            open_services(settings) as services,
            services.signals.listening(),
            services.accounts.listening(),
        ):
            opened = True
            app.state.services = services
            app.state.backlog = Backlog(services)
            app.state.gate.store_wait = services.store_wait
            app.state.stopping = Stopping()
            app.state.warming = asyncio.create_task(services.search.warm())
            async with services.control.attendance(API, _facts).attending():
                log.info("api.started")
                yield
            app.state.stopping.set()
    except Exception as error:
        if not opened:
            log.error("api.services_unavailable", reason=str(error))  # noqa: TRY400 - one clear line
        raise
    log.info("api.stopped")


def _facts() -> Facts:
    return Facts(memory_bytes=memory_bytes())


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the first that a request meets."""
    app.add_middleware(
        BodyLimit,
        limit=settings.api.max_body_bytes,
        files={transfers.IMPORTS: settings.catalog.max_import_bytes},
    )
    gate = Gate(settings.api.max_concurrency, longest_wait=settings.api.max_store_wait.total_seconds())
    app.state.gate = gate
    app.add_middleware(LoadShedding, gate=gate)
    app.add_middleware(CompressedReads, minimum_size=1024, compresslevel=5)
    if settings.api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api.cors_origins,
            # A page of any origin may call the API then, and must not do so as whoever is logged in.
            allow_credentials="*" not in settings.api.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=SENT,
            expose_headers=READ,
        )
    if telemetry.is_on():
        app.add_middleware(Traced)
    app.add_middleware(RequestContext, log_access=access_log(settings.log))
