"""A collector of traces as tests have one: OTLP over HTTP, on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Told:
    """One span as it came."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    facts: dict[str, Any]
    #: Span ids.
    links: list[str]


@dataclass(slots=True)
class Collector:
    """What has come so far."""

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    #: Set once somebody has sent anything.
    asked: threading.Event = field(default_factory=threading.Event)

    def of(self, trace_id: str) -> list[Told]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for told in request.resource_spans:
            service = _facts(told.resource.attributes)["service.name"]
            for scope in told.scope_spans:
                self.spans += [_told(str(service), span) for span in scope.spans]


def _told(service: str, span: Any) -> Told:
    return Told(
        service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        _facts(span.attributes), [link.span_id.hex() for link in span.links],
    )  # fmt: skip


def _facts(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collecting(*, hangs: bool = False) -> Iterator[Collector]:
    """Takes spans while it is entered; one that hangs takes requests and answers none."""
    collector, over = Collector(), threading.Event()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.asked.set()
            if hangs:
                over.wait()
                return
            collector.take(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: a test says what it expects."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield collector
    finally:
        over.set()
        server.shutdown()
        server.server_close()
