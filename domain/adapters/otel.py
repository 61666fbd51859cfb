"""`telemetry.Tracing` by OpenTelemetry. Imported only where traces are wanted: it is an extra."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.instrumentation.pymongo import CommandTracer
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from domain.telemetry import Facts, Kind

NAME = "stockyard"
#: The most traces that the span of a batch links to.
MOST_LINKS = 128
#: Where the span of a call of S3 is kept while it lasts.
_S3_SPAN = "stockyard.span"

_W3C = TraceContextTextMapPropagator()
_KINDS: Mapping[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
    "internal": SpanKind.INTERNAL,
}


class OtelTracing:
    """Spans of one provider. Clients of MongoDB, Redis and S3 are watched one by one, not patched for all."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME)

    @contextmanager
    def span(self, name: str, facts: Facts, *, kind: Kind, parent: str | None) -> Iterator[None]:
        """As `Tracing.span`. A `parent` that cannot be read is none."""
        context = _W3C.extract({"traceparent": parent}, Context()) if parent else None
        started = self._tracer.start_as_current_span
        with started(name, context=context, kind=_KINDS[kind], attributes=dict(facts)):
            yield

    @contextmanager
    def batch(self, name: str, origins: Sequence[Any]) -> Iterator[None]:
        """As `telemetry.batch`."""
        known = {each.get_span_context().span_id: each for each in origins if each is not None}
        if not known:
            yield
            return
        several = list(known.values())[:MOST_LINKS] if len(known) > 1 else []
        context = Context() if several else set_span_in_context(next(iter(known.values())), Context())
        links = [Link(each.get_span_context()) for each in several]
        facts = {"stockyard.batch.size": len(origins)}
        with self._tracer.start_as_current_span(name, context=context, links=links, attributes=facts) as span:
            for each in several:
                if each.is_recording():  # not where its request was not waited for, and has ended
                    each.add_link(span.get_span_context())
            yield

    def origin(self) -> Span | None:
        """As `telemetry.origin`."""
        span = get_current_span()
        return None if span is INVALID_SPAN else span

    def traceparent(self) -> str | None:
        """As `telemetry.traceparent`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def describe(self, name: str | None, facts: Facts) -> None:
        """As `telemetry.describe`."""
        span = get_current_span()
        span.set_attributes(facts)
        if name is not None:
            span.update_name(name)

    def failed(self, error: BaseException | None) -> None:
        """As `telemetry.failed`."""
        _fail(get_current_span(), error)

    def mongo_listeners(self) -> Sequence[Any]:
        """Names of commands and collections, without what was asked or written."""
        return [CommandTracer(self._tracer)]

    def watch_redis(self, client: Any) -> None:
        """Names of commands, with their arguments masked."""
        RedisInstrumentor.instrument_client(client, tracer_provider=self._provider)

    def watch_s3(self, client: Any) -> None:
        """By the client's own events. Signing an address is no call."""
        events = client.meta.events
        events.register("before-call.s3", self._s3_begins)
        events.register("after-call.s3", _s3_answered)
        events.register("after-call-error.s3", _s3_failed)

    def _s3_begins(self, model: Any, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        facts = {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": str(model.name)}
        if "body" in params and isinstance(params.get("url_path"), str):
            facts["url.path"] = params["url_path"]
        context[_S3_SPAN] = self._tracer.start_span(
            f"S3.{model.name}", kind=SpanKind.CLIENT, attributes=facts
        )


def _s3_answered(http_response: Any, context: dict[str, Any], **_: Any) -> None:
    span = context.pop(_S3_SPAN, None)
    if span is not None:
        span.set_attribute("http.response.status_code", http_response.status_code)
        span.end()


def _s3_failed(exception: BaseException, context: dict[str, Any], **_: Any) -> None:
    span = context.pop(_S3_SPAN, None)
    if span is not None:
        _fail(span, exception)
        span.end()


def _fail(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, type(error).__name__ if error else None))
