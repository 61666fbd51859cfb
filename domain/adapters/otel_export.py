"""What is kept of traces, and how it comes to the collector: by OTLP over HTTP, on a thread of its own.

A collector that is away, slow or hung costs spans and nothing else: they wait in a queue with a bound, and
the oldest are dropped.
"""

import logging
import os
import socket
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from domain.observe import logger
from domain.settings import Telemetry

log = logger(__name__)

#: Where collectors take traces.
PATH = "/v1/traces"
#: Seconds that one try to send may take, and that the end of a process waits for the last ones.
PATIENCE, FAREWELL = 5.0, 2.0
#: Spans that wait to be sent, at most, and milliseconds between two sendings.
QUEUE, EVERY = 8192, 1000.0
#: The exporter's own lines: one for each try, and `SaidOnce` says it better.
_NOISE = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")


class Whole(Sampler):
    """Keeps traces whole: what continues one is kept as that is, and what begins one by its share.

    A call of MongoDB, Redis or S3 begins none: the timetable alone makes some every second. The span of a
    batch is kept where one of those is that it links to.
    """

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(  # noqa: PLR0917 - the SDK's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """As the SDK asks it."""
        before = get_current_span(parent_context).get_span_context()
        if before.is_valid:
            return _kept(before.trace_flags.sampled, attributes)
        if links:
            return _kept(any(link.context.trace_flags.sampled for link in links), attributes)
        if kind is SpanKind.CLIENT:
            return _kept(False, attributes)
        return self._share.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """As the SDK asks it."""
        return f"Whole({self._share.get_description()})"


def _kept(kept: bool, attributes: Attributes) -> SamplingResult:  # noqa: FBT001 - the answer itself
    return SamplingResult(Decision.RECORD_AND_SAMPLE if kept else Decision.DROP, attributes)


class SaidOnce(SpanExporter):
    """Says once that the collector is away, and once that it is back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the SDK calls it, on its own thread."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns nobody's work
            result, reason = SpanExportResult.FAILURE, repr(error)
        else:
            reason = "it refused, or gave no answer in time"
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("the collector of traces is away: spans are dropped", reason=reason)
        elif self._away and not away:
            log.info("the collector of traces is back")
        self._away = away
        return result

    def shutdown(self) -> None:
        """Cuts a try short that waits to be made again."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """As the SDK calls it."""
        return self._exporter.force_flush(timeout_millis)


def provider_for(settings: Telemetry, *, process: str) -> TracerProvider:
    """Sends what this process tells to the settings' collector."""
    for name in _NOISE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    endpoint = (settings.endpoint or "").rstrip("/")
    exporter = OTLPSpanExporter(endpoint if endpoint.endswith(PATH) else endpoint + PATH, timeout=PATIENCE)
    provider = TracerProvider(
        sampler=Whole(settings.share), resource=resource(process), shutdown_on_exit=False
    )
    provider.add_span_processor(
        BatchSpanProcessor(SaidOnce(exporter), max_queue_size=QUEUE, schedule_delay_millis=EVERY)
    )
    return provider


def resource(process: str) -> Resource:
    """Who tells: the kind of process, its version, host and process id."""
    return Resource.create(
        {
            "service.name": f"stockyard-{process}",
            "service.version": version("stockyard"),
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
