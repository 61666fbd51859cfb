"""The app factory. Nothing is opened before the app's lifespan begins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from api import errors, openapi
from api.backlog import Backlog
from api.gate import Gate, LoadShedding
from api.middleware import BodyLimit, CompressedReads, RequestContext
from api.routes import auth, events, health, inventory, jobs, orders, products, reservations
from api.waiting import Stopping
from domain.bootstrap import open_services
from domain.observe import hot_log, logger
from domain.settings import Settings

log = logger(__name__)

#: In the order in which they are looked through: the busiest first.
FEATURES = (orders, jobs, reservations, products, inventory, events, auth, health)
#: Headers beyond the simple ones that browsers may send, and read.
SENT = ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-ID"]
READ = ["Location", "Retry-After", "Idempotent-Replayed", "X-Request-ID"]


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
        docs_url="/docs" if docs else None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        routes=[route for feature in FEATURES for route in feature.routes.routes],
        lifespan=partial(_lifespan, settings=settings),
    )
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    errors.install(app)
    _add_middleware(app, settings)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: Settings) -> AsyncIterator[None]:
    opened = False
    try:
        async with open_services(settings) as services, services.signals.listening():
            opened = True
            app.state.services = services
            app.state.backlog = Backlog(services)
            app.state.stopping = Stopping()
            log.info("api.started")
            yield
            app.state.stopping.set()
    except Exception as error:
        if not opened:
            log.error("api.services_unavailable", reason=str(error))  # noqa: TRY400 - one clear line
        raise
    log.info("api.stopped")


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the first that a request meets."""
    app.add_middleware(BodyLimit, limit=settings.api.max_body_bytes)
    gate = Gate(settings.api.max_concurrency)
    app.state.gate = gate
    app.add_middleware(LoadShedding, gate=gate)
    app.add_middleware(CompressedReads, minimum_size=1024, compresslevel=5)
    if settings.api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=SENT,
            expose_headers=READ,
        )
    app.add_middleware(RequestContext, log_access=hot_log(settings.log, "api.requests"))
