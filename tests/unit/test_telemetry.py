"""Traces without a collector: what is kept, what links to what, and that nothing happens while it is off."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from domain import telemetry
from domain.adapters.otel import OtelTracing
from domain.adapters.otel_export import Whole
from domain.batching import Batcher
from domain.jobs.acceptance import message_of, new_job
from domain.orders.commands import CancelOrder
from domain.settings import Settings, Telemetry
from domain.startup import unusable
from domain.values import new_id, utcnow

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = CALLER[:-1] + "0"


@pytest.fixture
def told() -> Iterator[InMemorySpanExporter]:
    yield from tracing(share=1.0)


def tracing(*, share: float) -> Iterator[InMemorySpanExporter]:
    told = InMemorySpanExporter()
    provider = TracerProvider(sampler=Whole(share), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(told))
    telemetry.use(OtelTracing(provider))
    yield told
    telemetry.use(telemetry.OFF)


def job() -> dict[str, Any]:
    command = CancelOrder(order_id=new_id())
    return new_job(command, owner="o", key="k", now=utcnow(), resend_after=timedelta(minutes=10))


def test_a_job_and_every_message_of_it_carry_the_trace_of_the_request(told: InMemorySpanExporter):
    with telemetry.span("POST /v1/orders", {}, kind="server", parent=CALLER):
        here, accepted = telemetry.traceparent(), job()
    assert accepted["traceparent"] == here
    assert telemetry.trace_id(here) == telemetry.trace_id(CALLER)
    assert message_of(accepted).traceparent == message_of(accepted, express=True).traceparent == here


def test_while_it_is_off_nothing_is_stored_and_nothing_is_sent():
    with telemetry.span("POST /v1/orders", {}, parent=CALLER), telemetry.batch("batch", [None]):
        accepted = job()
    assert "traceparent" not in accepted
    assert message_of(accepted).traceparent is None
    assert telemetry.origin() is None
    assert telemetry.mongo_listeners() == ()


def test_while_it_is_off_no_process_imports_what_traces():
    code = (
        "import api.app, workers.main, scheduler.main, sys; from domain.settings import Settings; "
        "api.app.create_app(Settings()); "
        "print([name for name in sys.modules if name in "
        "('domain.adapters.otel', 'opentelemetry.sdk.trace', 'opentelemetry.exporter')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_batch_of_several_links_to_the_trace_of_each_and_they_to_it(told: InMemorySpanExporter):
    seen: list[str | None] = []

    async def apply(items: list[str]) -> list[str]:
        seen.append(telemetry.trace_id(telemetry.traceparent()))
        return items

    batcher = Batcher(apply, linger=0.01)

    async def ask(item: str) -> str | None:
        with telemetry.span(item, {}):
            await batcher.submit(item)
            return telemetry.trace_id(telemetry.traceparent())

    traces = await asyncio.gather(*map(ask, "abc"))
    spans = {span.name: span for span in told.get_finished_spans()}
    batch = next(span for name, span in spans.items() if name.endswith("apply"))
    assert {f"{link.context.trace_id:032x}" for link in batch.links} == set(traces)
    assert seen == [f"{batch.context.trace_id:032x}"]
    assert not set(seen) & set(traces)
    for item in "abc":
        assert [link.context.span_id for link in spans[item].links] == [batch.context.span_id]


async def test_a_batch_for_one_is_a_part_of_its_trace(told: InMemorySpanExporter):
    async def apply(items: list[str]) -> list[str]:
        return items

    batcher = Batcher(apply)
    with telemetry.span("alone", {}):
        await asyncio.gather(batcher.submit("a"), batcher.submit("b"))
    batch, alone = told.get_finished_spans()
    assert batch.parent is not None
    assert batch.parent.span_id == alone.context.span_id
    assert batch.attributes is not None
    assert batch.attributes["stockyard.batch.size"] == 2
    assert batch.links == ()


async def test_what_nobody_asked_for_is_no_trace(told: InMemorySpanExporter):
    async def apply(items: list[str]) -> list[str]:
        return items

    await Batcher(apply).submit("a")
    tracer = OtelTracing(TracerProvider(sampler=Whole(1.0)))._tracer
    assert not tracer.start_span("shop.find", kind=SpanKind.CLIENT).is_recording()
    assert told.get_finished_spans() == ()


async def test_a_fault_in_a_batch_marks_its_span(told: InMemorySpanExporter):
    async def apply(_: list[str]) -> list[str]:
        raise OSError("gone")

    with telemetry.span("alone", {}), pytest.raises(OSError, match="gone"):
        await Batcher(apply).submit("a")
    batch, alone = told.get_finished_spans()
    assert not batch.status.is_ok
    assert batch.events[0].name == "exception"
    assert batch.context.trace_id == alone.context.trace_id


def test_a_client_that_keeps_no_trace_gets_none_and_its_jobs_say_so(told: InMemorySpanExporter):
    with telemetry.span("POST /v1/orders", {}, kind="server", parent=UNSAMPLED):
        accepted = job()
    assert accepted["traceparent"].endswith("-00")
    with telemetry.span("orders.cancel", {}, kind="consumer", parent=accepted["traceparent"]):
        pass
    assert told.get_finished_spans() == ()


def test_a_share_of_none_keeps_what_clients_keep_and_begins_nothing():
    for told in tracing(share=0.0):
        for parent in (None, CALLER, UNSAMPLED):
            with telemetry.span("request", {}, parent=parent):
                pass
        (kept,) = told.get_finished_spans()
        assert f"{kept.context.trace_id:032x}" == telemetry.trace_id(CALLER)


@pytest.mark.parametrize("nonsense", ["", "00", "00-zz-zz-01", "x" * 500, CALLER.replace("-", "_")])
def test_a_traceparent_that_cannot_be_read_is_none(told: InMemorySpanExporter, nonsense: str):
    with telemetry.span("request", {}, parent=nonsense):
        assert telemetry.trace_id(telemetry.traceparent()) not in {None, telemetry.trace_id(CALLER)}
    (begun,) = told.get_finished_spans()
    assert begun.parent is None


def test_an_endpoint_without_the_extra_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch):
    settings = Settings(telemetry=Telemetry(endpoint="http://127.0.0.1:4318"))
    assert list(unusable(settings)) == []
    monkeypatch.setattr("domain.startup.find_spec", lambda _name: None)
    assert any("STOCKYARD_TELEMETRY_ENDPOINT" in line for line in unusable(settings))
