"""The console's process."""

import signal
import sys

import uvicorn

from api.console.app import create_console
from domain.observe import configure_logging, logger
from domain.startup import Misconfigured, load_settings

log = logger(__name__)


def main() -> int:
    """Serves until SIGTERM or SIGINT. 0 after a clean stop; 1 without a port or without services."""
    try:
        settings = load_settings()
    except Misconfigured as error:
        print(f"console: {error}", file=sys.stderr)  # noqa: T201 - how to log is a setting, too
        return 1
    configure_logging(settings.log)
    config = uvicorn.Config(
        create_console(settings),
        host=settings.console.host,
        port=settings.console.port,
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Open pages are connections that never end by themselves.
        timeout_graceful_shutdown=2,
    )
    # uvicorn raises the signal that stopped it again, once it has stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    log.info("console.starting", url=f"http://{settings.console.host}:{settings.console.port}/ops")
    try:
        uvicorn.Server(config).run()
    except SystemExit as end:
        return 1 if end.code else 0
    return 0
