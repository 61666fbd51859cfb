"""A process's own metrics, and the probe of one without an API: `/healthz`, `/readyz` and `/metrics`."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from domain.settings import Scheduler, Workers


class Probe:
    """Serves `/healthz`, `/readyz` and `/metrics` of this process from a thread of its own.

    `/healthz` answers 200, or 503 with the problems, as JSON; `/readyz` too, also with what the process still
    waits for before it works. `/metrics` answers for all processes that
    share `PROMETHEUS_MULTIPROC_DIR` where that is set.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        problems: Callable[[], list[str]],
        unready: Callable[[], list[str]] = list,
    ) -> None:
        members = {"problems": staticmethod(problems), "unready": staticmethod(unready)}
        handler = type("Handler", (_Handler,), members)
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="probe", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def probing(
    where: Workers | Scheduler,
    *,
    problems: Callable[[], list[str]],
    unready: Callable[[], list[str]] = list,
) -> Iterator[None]:
    """Serves the probe while it is open; nothing where its port is 0."""
    if not where.probe_port:
        yield
        return
    probe = Probe(host=where.probe_host, port=where.probe_port, problems=problems, unready=unready)
    probe.start()
    try:
        yield
    finally:
        probe.stop()


class _Handler(BaseHTTPRequestHandler):
    """Three addresses, and 404."""

    problems: Callable[[], list[str]]
    unready: Callable[[], list[str]]
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        """Answers."""
        if self.path == "/healthz":
            self._tell("unhealthy", self.problems())
        elif self.path == "/readyz":
            self._tell("unready", self.problems() + self.unready())
        elif self.path == "/metrics":
            self._answer(200, generate_latest(registry()), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, b"", "text/plain")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds; nobody reads about them."""

    def _tell(self, wrong: str, problems: list[str]) -> None:
        body = json.dumps({"status": wrong if problems else "ok", "problems": problems})
        self._answer(503 if problems else 200, body.encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def registry() -> CollectorRegistry:
    """The process's metrics, or those of all that share `PROMETHEUS_MULTIPROC_DIR` where that is set."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared
