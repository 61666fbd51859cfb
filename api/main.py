"""The API's process: one or more uvicorn workers on one socket."""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from api.app import create_app
from domain.observe import configure_logging, logger
from domain.settings import Api, Settings

log = logger(__name__)

#: Where uvicorn's workers find the app.
APP = "api.main:app"
#: Seconds that a worker has to import the app, and later to answer its parent, before it is replaced.
HEALTH_PATIENCE = 60
MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"


def main() -> int:
    """Serves until SIGTERM or SIGINT. 0 after a clean stop; 1 without a port or without services."""
    settings = Settings()
    configure_logging(settings.log)
    try:
        listener = bind(settings.api)
    except OSError as error:
        log.error("api.cannot_listen", host=settings.api.host, port=settings.api.port, reason=str(error))  # noqa: TRY400 - one clear line
        return 1
    host, port = listener.getsockname()[:2]
    log.info("api.listening", url=f"http://{host}:{port}", workers=settings.api.workers)
    return serve(settings.api, [listener])


def app() -> FastAPI:
    """The app of one worker process."""
    settings = Settings()
    configure_logging(settings.log)
    return create_app(settings)


def bind(settings: Api) -> socket.socket:
    """A socket at the configured address, which the workers share. Raises OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def serve(settings: Api, sockets: Sequence[socket.socket]) -> int:
    """Serves on sockets that are bound already. The exit code, as `main` says."""
    config = uvicorn.Config(
        APP,
        factory=True,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="on",
        workers=settings.workers,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_worker_healthcheck=HEALTH_PATIENCE,
        timeout_graceful_shutdown=int(settings.shutdown_timeout.total_seconds()),
    )
    if settings.workers > 1:
        return _serve_many(config, sockets)
    # uvicorn raises the signal that stopped it again, once it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        uvicorn.Server(config).run(list(sockets))
    except SystemExit as end:
        return 1 if end.code else 0
    return 0


def _serve_many(config: uvicorn.Config, sockets: Sequence[socket.socket]) -> int:
    with _shared_metrics():
        workers = Multiprocess(config, sockets=list(sockets))
        workers.run()
    return 1 if any(each.exitcode == STARTUP_FAILURE for each in workers.processes) else 0


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Has the workers add their metrics up, so that any of them can tell all."""
    if MULTIPROC in os.environ:
        yield
        return
    os.environ[MULTIPROC] = tempfile.mkdtemp(prefix="stockyard-metrics-")
    try:
        yield
    finally:
        shutil.rmtree(os.environ.pop(MULTIPROC), ignore_errors=True)


class Connection(HttpToolsProtocol):
    """Tells the app of a stop at its beginning, so that waits and streams end and the stop is quick."""

    def shutdown(self) -> None:
        """As uvicorn calls it on each open connection, before it waits for them."""
        self.app.state.stopping.set()
        super().shutdown()
