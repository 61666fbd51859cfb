"""The API's process: one or more uvicorn workers on one socket."""

import argparse
import math
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

from api.app import create_app
from api.connection import Connection
from api.supervisor import supervise
from domain import garbage
from domain.bootstrap import tracing
from domain.lifeline import stop_with_parent
from domain.observe import configure_logging, logger
from domain.settings import Api, Settings
from domain.startup import Misconfigured, load_settings

log = logger(__name__)

#: Where processes that count together keep their counts.
MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT. 0 after a clean stop; 1 without a port or without services."""
    asked = _parser().parse_args(argv)
    try:
        settings = load_settings()
    except Misconfigured as error:
        print(f"api: {error}", file=sys.stderr)  # noqa: T201 - how to log is a setting, too
        return 1
    configure_logging(settings.log)
    if asked.lifeline is not None:
        stop_with_parent(asked.lifeline)
    if asked.fd is not None:
        return serve(settings, socket.socket(fileno=asked.fd), ready=asked.ready)
    try:
        listener = bind(settings.api)
    except OSError as error:
        log.error("api.cannot_listen", host=settings.api.host, port=settings.api.port, reason=str(error))  # noqa: TRY400 - one clear line
        return 1
    host, port = listener.getsockname()[:2]
    log.info("api.listening", url=f"http://{host}:{port}", workers=settings.api.workers)
    if settings.api.workers == 1:
        return serve(settings, listener)
    with _shared_metrics():
        return supervise(listener, workers=settings.api.workers)


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
    return listener


class Server(uvicorn.Server):
    """uvicorn's, which says when it serves: by the pipe `ready`, if there is one."""

    def __init__(self, config: uvicorn.Config, *, ready: int | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn calls it."""
        await super().startup(sockets)
        garbage.freeze()
        if self._ready is not None:
            os.write(self._ready, b"1")
            os.close(self._ready)


def serve(settings: Settings, listener: socket.socket, *, ready: int | None = None) -> int:
    """Serves on a socket that is bound already. The exit code, as `main` says."""
    with tracing(settings.telemetry, process="api"):
        return _serve(create_app(settings), settings, listener, ready=ready)


def _serve(app: FastAPI, settings: Settings, listener: socket.socket, *, ready: int | None) -> int:
    config = uvicorn.Config(
        app,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=math.ceil(settings.api.keep_alive.total_seconds()),
        timeout_graceful_shutdown=int(settings.api.shutdown_timeout.total_seconds()),
    )
    # uvicorn raises the signal that stopped it again, once it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        Server(config, ready=ready).run([listener])
    except SystemExit as end:
        return 1 if end.code else 0
    return 0


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api", description="Serves the API as the settings say.")
    parser.add_argument("--fd", type=int, help="serve on this inherited socket, in one process")
    parser.add_argument("--lifeline", type=int, help="stop when this inherited pipe is closed")
    parser.add_argument("--ready", type=int, help="write to this inherited pipe once requests are served")
    return parser
