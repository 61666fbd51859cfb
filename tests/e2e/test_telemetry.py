"""One order is one trace, from its request to its reservation; and a collector that hangs slows nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable

from domain import telemetry
from domain.adapters.s3 import S3ObjectStore
from domain.bootstrap import tracing
from domain.settings import Settings, Telemetry
from domain.values import new_id
from ops.fleet import Fleet
from ops.stack import Stack
from tests.api import ORDER, open_api
from tests.collector import Collector, Told, collecting
from tests.conftest import environment_on
from tests.e2e.town import open_town, order_of, said
from tests.factories import eventually

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_one_order_is_one_trace_over_every_process_and_service(
    stack: Stack, fleet_of: Callable[..., Fleet]
):
    with collecting() as collector:
        settings = {"STOCKYARD_TELEMETRY_ENDPOINT": collector.url, "STOCKYARD_LOG_FORMAT": "json"}
        environment = environment_on(stack) | settings
        fleet = fleet_of(settings=environment, apis=1, pools={"orders": 1}, schedulers=0)
        async with open_town(environment, fleet) as town:
            ada, sku = await town.customer(), await town.product(5)
            headers = ada.headers | {"Idempotency-Key": new_id(), "traceparent": f"00-{TRACE}-{SPAN}-01"}
            answer = await ada.client.post("/v1/orders", json=order_of({sku: 1}), headers=headers)
            assert answer.status_code == 202, answer.text
            order_id = answer.json()["id"]
            assert (await ada.settled(order_id))["state"] == "reserved"
            await eventually(lambda: _whole(collector), within=20)
            assert (await town.job(order_id))["traceparent"].startswith(f"00-{TRACE}-")
    spans = collector.of(TRACE)
    by_id = {span.span_id: span for span in spans}
    # All hang together, below the span of the client.
    assert {span.parent for span in spans} - by_id.keys() == {SPAN}
    request, run = _named(spans, "POST /v1/orders"), _named(spans, "orders.place")
    assert (request.service, request.parent) == ("stockyard-api", SPAN)
    assert request.facts["http.response.status_code"] == 202
    assert request.facts["http.route"] == "/v1/orders"
    assert (run.service, run.parent) == ("stockyard-worker", request.span_id)
    assert run.facts["stockyard.job_id"] == order_id
    systems = {(span.service, _system(span)) for span in spans}
    wanted = {("stockyard-api", "mongodb"), ("stockyard-api", "rabbitmq"), ("stockyard-worker", "mongodb"),
              ("stockyard-worker", "redis"), ("stockyard-worker", "rabbitmq")}  # fmt: skip
    assert wanted <= systems
    assert _named(spans, "Placing._apply").parent == run.span_id
    # What was ordered, by whom and where to is in none of them.
    assert "Dock Road" not in str(spans)
    assert ada.id not in str(spans)
    # Those who read logs find the trace, and the other way.
    for member in (*fleet.apis, *fleet.workers):
        assert f'"trace_id":"{TRACE}"' in said(member.log)


async def test_while_the_collector_hangs_orders_flow_and_the_process_ends(
    settings: Settings,
):
    with collecting(hangs=True) as collector:
        with tracing(Telemetry(endpoint=collector.url), process="api"):
            async with open_api(settings) as api:
                user = api.user()
                await api.shop.stock(CHAI=5)
                await user.get("/v1/orders")
                await asyncio.to_thread(collector.asked.wait, 20)
                assert collector.asked.is_set()
                answer = await user.post("/v1/orders", ORDER)
                assert answer.status_code == 202, answer.text
                await api.settle(answer.json()["id"])
                order = (await user.get(f"/v1/orders/{answer.json()['id']}")).json()
                assert order["state"] == "reserved"
        assert not collector.spans
        assert not telemetry.is_on()


async def test_a_collector_that_is_away_costs_nothing_but_a_line(settings: Settings):
    with tracing(Telemetry(endpoint="http://127.0.0.1:9"), process="api"):
        async with open_api(settings) as api:
            await api.shop.stock(CHAI=5)
            answer = await api.user().post("/v1/orders", ORDER)
            assert answer.status_code == 202, answer.text


async def test_calls_of_the_object_store_belong_to_the_trace_of_who_makes_them(
    stack: Stack, settings: Settings
):
    with collecting() as collector, tracing(Telemetry(endpoint=collector.url), process="worker"):
        objects = S3ObjectStore(settings.s3)
        with telemetry.span("media.render", {}, parent=f"00-{TRACE}-{SPAN}-01"):
            await objects.put("a", _bytes(), content_type="text/plain")
            await objects.size("nobody")
        objects.close()
    told = {span.name: span for span in collector.of(TRACE)}
    assert told["S3.PutObject"].facts["http.response.status_code"] == 200
    assert told["S3.HeadObject"].facts["http.response.status_code"] == 404
    assert told["S3.PutObject"].parent == told["media.render"].span_id


async def _bytes() -> AsyncIterator[bytes]:
    yield b"a"


async def _whole(collector: Collector) -> bool:
    """Whether all has come: a span that lasts longer than those below it comes after them."""
    spans = collector.of(TRACE)
    names = {span.name for span in spans}
    known = {SPAN, *(span.span_id for span in spans)}
    wanted = {"POST /v1/orders", "orders.place", "Placing._apply"}
    return wanted <= names and known >= {span.parent for span in spans}


def _system(span: Told) -> str | None:
    return span.facts.get("db.system") or span.facts.get("messaging.system")


def _named(spans: list[Told], name: str) -> Told:
    (found,) = [span for span in spans if span.name == name]
    return found
