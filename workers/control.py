"""Whether a worker process does its work, and how it stops: liveness, the probe, draining."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from workers.broker import StockyardWorker

#: Seconds that a queue may go unconsumed: longer than RabbitMQ takes to start and consumers to come back.
SILENCE = 30.0
#: Seconds in which the event loop has to answer.
LOOP_PATIENCE = 2.0


def consumers_alive(worker: StockyardWorker, *, silence: float = SILENCE) -> list[str]:
    """What is wrong with the threads of the worker; nothing when it is well.

    Notices threads that died, and consumers that have had no open connection, channel and consumer tag for
    `silence` seconds, although the process looks alive.
    """
    problems = []
    for queue, thread in worker.consumers.items():
        if not thread.is_alive():
            problems.append(f"the consumer of {queue} has died")
        elif (seconds := worker.broker.silent_for(queue)) > silence:
            problems.append(f"{queue} has not been consumed for {seconds:.0f} s")
    dead = sum(not thread.is_alive() for thread in worker.workers)
    if dead:
        problems.append(f"{dead} of {len(worker.workers)} worker threads have died")
    return problems


def loop_alive(loop: asyncio.AbstractEventLoop, *, patience: float = LOOP_PATIENCE) -> list[str]:
    """What is wrong with the event loop that runs the actors; nothing when it answers in time."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return ["the event loop is closed"]
    return [] if answered.wait(patience) else [f"the event loop has not answered for {patience:.0f} s"]


def drain(worker: StockyardWorker) -> None:
    """Idempotent. Consumers take no more, and what no thread has begun goes back to its queue.

    What runs goes on, and its acks are sent.
    """
    worker.broker.draining.set()
    with contextlib.suppress(Empty):
        while True:
            message: Any = worker.work_queue.get_nowait().message
            message.consumer.requeue([message])
            worker.work_queue.task_done()


class Probe:
    """Serves `/healthz` and `/metrics` of this process from a thread of its own.

    `/healthz` answers 200, or 503 with the problems, as JSON. `/metrics` answers for all processes that
    share `PROMETHEUS_MULTIPROC_DIR` where that is set.
    """

    def __init__(self, *, host: str, port: int, problems: Callable[[], list[str]]) -> None:
        handler = type("Handler", (_Handler,), {"problems": staticmethod(problems)})
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


class _Handler(BaseHTTPRequestHandler):
    """Two addresses, and 404."""

    problems: Callable[[], list[str]]
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        """Answers."""
        if self.path == "/healthz":
            problems = self.problems()
            body = json.dumps({"status": "unhealthy" if problems else "ok", "problems": problems})
            self._answer(503 if problems else 200, body.encode(), "application/json")
        elif self.path == "/metrics":
            self._answer(200, generate_latest(_registry()), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, b"", "text/plain")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds; nobody reads about them."""

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
