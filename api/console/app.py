"""The console's app: the doors, and behind them the live pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from nicegui import app as library
from nicegui import ui
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.console import doors, pages, problems
from api.console.reads import Reads
from api.middleware import BodyLimit
from api.routes.health import ESSENTIAL
from domain.bootstrap import open_services
from domain.control.asking import ask
from domain.observe import logger
from domain.settings import Settings

log = logger(__name__)

#: Seconds for which a page whose connection broke is kept, to go on where it was.
RECONNECT = 10.0


def create_console(settings: Settings | None = None) -> FastAPI:
    """The console over the given settings, or those of the environment. One in each process."""
    settings = settings or Settings()
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        routes=[Route("/healthz", _alive), Route("/readyz", _ready), *doors.routes()],
        lifespan=partial(_lifespan, settings=settings),
    )
    pages.register()
    ui.run_with(
        app,
        mount_path=doors.HOME,
        title="Stockyard",
        language="en-GB",
        favicon=doors.ICON,
        dark=None,
        tailwind=False,
        reconnect_timeout=RECONNECT,
        show_welcome_message=False,
    )
    library.add_exception_handler(404, problems.missing)
    # A bar that runs along the top with each request has no name, and tells nothing.
    library.config.quasar_config["loadingBar"]["skipHijack"] = True
    app.add_middleware(doors.Doors)
    app.add_middleware(BodyLimit, limit=settings.api.max_body_bytes, files={})
    return app


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
            app.state.services, app.state.reads = services, Reads()
            log.info("console.started")
            yield
    except Exception as error:
        if not opened:
            log.error("console.services_unavailable", reason=str(error))  # noqa: TRY400 - one clear line
        raise
    log.info("console.stopped")


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _ready(request: Request) -> Response:
    """503 while the store is away: nothing could be shown."""
    store = await ask(ESSENTIAL, request.app.state.services.pings[ESSENTIAL])
    return PlainTextResponse("ready") if store.ok else PlainTextResponse("the store is away", 503)
