"""What people do, from registering to the last event, over HTTP and on real processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.values import new_id, utcnow
from ops.fleet import Fleet, Member
from ops.stack import Stack
from tests.conftest import environment_on
from tests.e2e.town import Person, Town, event_of, moment, open_town, order_of, said
from tests.factories import eventually

#: How late a hold may end (P4).
LATE = timedelta(seconds=2)
LEADER_TTL = 1.5


@pytest.fixture(scope="module")
async def town(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Two APIs, a worker for each pool, one scheduler."""
    environment = {
        **environment_on(stack),
        "STOCKYARD_JOBS_MAX_ATTEMPTS": "2",
        "STOCKYARD_LOG_ACCESS": "json",
    }
    with Fleet(environment, folder=tmp_path_factory.mktemp("town"), apis=2) as fleet:
        async with open_town(environment, fleet) as town:
            yield town


@pytest.fixture(scope="module")
async def hasty(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town where holds last two seconds, with two schedulers."""
    environment = {
        **environment_on(stack),
        "STOCKYARD_ORDERS_HOLD_TIME": "2s",
        "STOCKYARD_SCHEDULER_LEADER_TTL": f"{LEADER_TTL * 1000:.0f}ms",
    }
    folder = tmp_path_factory.mktemp("hasty")
    with Fleet(environment, folder=folder, apis=1, schedulers=2) as fleet:
        async with open_town(environment, fleet) as town:
            yield town


async def test_a_customer_registers_orders_and_pays(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    assert (await ada.get("/v1/me"))["id"] == ada.id
    order = await ada.order({sku: 2})
    assert (order["state"], order["net"]) == ("reserved", 2000)
    assert await town.levels(sku) == (3, 2)
    payment = await ada.pay(order["id"])
    assert payment["state"] == "succeeded"
    paid = await ada.look(order["id"])
    assert [each["state"] for each in paid["timeline"]] == ["pending", "reserved", "paid"]
    assert await town.levels(sku) == (3, 0)


async def test_an_order_that_does_not_fit_is_rejected_and_says_what_is_missing(town: Town):
    ada, sku = await town.customer(), await town.product(1)
    order = await ada.order({sku: 2})
    assert order["state"] == "rejected"
    assert order["rejection"]["code"] == "out_of_stock"
    assert order["rejection"]["detail"]["lines"] == [{"sku": sku, "wanted": 2, "available": 1}]
    assert (await ada.done(order["id"]))["state"] == "failed"
    assert await town.levels(sku) == (1, 0)


async def test_of_two_hundred_orders_for_the_last_unit_one_has_it(town: Town):
    ada, sku = await town.customer(), await town.product(1)
    sent = await asyncio.gather(*(ada.post("/v1/orders", order_of({sku: 1})) for _ in range(200)))
    orders = await asyncio.gather(*(ada.settled(each["id"]) for each in sent))
    assert Counter(order["state"] for order in orders) == {"reserved": 1, "rejected": 199}
    assert await town.levels(sku) == (0, 1)


async def test_a_retry_with_the_same_key_meets_the_other_api_and_is_one_order(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    key, body = new_id(), order_of({sku: 1})
    async with httpx.AsyncClient(base_url=town.fleet.urls[1], timeout=20) as other:
        twin = Person(ada.id, ada.token, other)
        answers = await asyncio.gather(*(who.send("/v1/orders", body, key=key) for who in [ada, twin] * 25))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    await ada.settled(answers[0].json()["id"])
    assert await town.levels(sku) == (4, 1)
    other_body = await ada.send("/v1/orders", order_of({sku: 2}), key=key)
    assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_request_id_goes_from_the_request_to_the_workers_line_about_its_job(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    request_id = f"journey:{new_id()}"
    headers = ada.headers | {"Idempotency-Key": new_id(), "X-Request-ID": request_id}
    answer = await ada.client.post("/v1/orders", json=order_of({sku: 1}), headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (202, request_id)
    job_id = answer.json()["job_id"]
    assert (await ada.done(job_id))["state"] == "succeeded"
    (worker,) = (each for each in town.fleet.workers if each.name.startswith("orders"))

    def lines() -> list[str]:
        return [line for line in said(worker.log).splitlines() if request_id in line and job_id in line]

    await eventually(lambda: any("job ended" in line for line in lines()))
    requests = [line for line in said(town.fleet.apis[0].log).splitlines() if request_id in line]
    assert len(requests) == 1


async def test_after_a_declined_payment_another_one_pays(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    order = await ada.order({sku: 1})
    declined = await ada.pay(order["id"], "sandbox:decline")
    assert (declined["state"], declined["error"]["code"]) == ("failed", "payment_declined")
    assert (await ada.look(order["id"]))["state"] == "reserved"
    assert (await ada.pay(order["id"]))["state"] == "succeeded"
    paid = await ada.look(order["id"])
    assert [each["state"] for each in paid["payments"]] == ["declined", "captured"]


@pytest.mark.parametrize("source", ["sandbox:timeout", "sandbox:timeout-unseen", "sandbox:twice"])
async def test_a_payment_whose_answer_is_strange_charges_once(town: Town, source: str):
    ada, sku = await town.customer(), await town.product(5)
    order = await ada.order({sku: 1})
    payment = await ada.pay(order["id"], source)
    assert payment["state"] == "succeeded"
    assert (await ada.look(order["id"]))["state"] == "paid"
    charges = await town.collection("sandbox_charges").find({"source": source}).to_list()
    assert [(each["_id"], each["status"]) for each in charges] == [(payment["id"], "captured")]


async def test_two_payments_at_once_take_the_money_once(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    order = await ada.order({sku: 3})
    jobs = await asyncio.gather(*(ada.pay(order["id"]) for _ in range(4)))
    assert Counter(job["state"] for job in jobs) == {"succeeded": 1, "failed": 3}
    ids = [job["id"] for job in jobs]
    charges = await town.collection("sandbox_charges").find({"_id": {"$in": ids}}).to_list()
    assert Counter(each["status"] for each in charges)["captured"] == 1
    assert "authorised" not in {each["status"] for each in charges}
    assert await town.levels(sku) == (2, 0)


async def test_a_cancelled_order_gives_its_stock_back(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    order = await ada.order({sku: 5})
    assert (await ada.cancel(order["id"]))["state"] == "succeeded"
    assert (await ada.look(order["id"]))["state"] == "cancelled"
    assert await town.levels(sku) == (5, 0)
    too_late = await ada.pay(order["id"])
    assert (too_late["error"]["code"], too_late["error"]["detail"]["state"]) == (
        "invalid_transition",
        "cancelled",
    )


async def test_a_reservation_becomes_an_order(town: Town):
    ada, sku = await town.customer(), await town.product(2)
    accepted = await ada.post("/v1/reservations", {"items": [{"sku": sku, "quantity": 2}]})
    held = await ada.get(f"/v1/reservations/{accepted['id']}?wait=25")
    assert held["state"] == "held"
    assert (await ada.order({sku: 1}))["state"] == "rejected"
    order = await ada.order({sku: 2}, reservation=accepted["id"])
    assert order["state"] == "reserved"
    assert await town.levels(sku) == (0, 2)
    assert (await ada.pay(order["id"]))["state"] == "succeeded"
    assert await town.levels(sku) == (0, 0)


async def test_listeners_hear_what_the_account_can_read_later(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    async with town.services.pubsub.subscribe(f"stockyard:account:{ada.id}") as told:
        order = await ada.order({sku: 1})
        await ada.pay(order["id"])
        await ada.order({sku: 9})
        async with asyncio.timeout(10):
            heard = [event_of(await anext(told)) for _ in range(4)]
    assert [each["type"] for each in heard] == [
        "order.reserved", "order.paid", "payment.captured", "order.rejected",
    ]  # fmt: skip
    assert [each["seq"] for each in heard] == [1, 2, 3, 4]
    assert await ada.events() == heard


async def test_a_stream_resumes_where_it_broke_off(town: Town):
    ada, sku = await town.customer(), await town.product(9)
    first = await ada.order({sku: 1})
    async with aclosing(streamed(ada, after="0")) as events:
        seen = await anext(events)
        assert (seen["type"], seen["subject"]) == ("order.reserved", first["id"])
        live = await ada.order({sku: 1})
        assert (await anext(events))["subject"] == live["id"]
    missed = await ada.order({sku: 1})
    async with httpx.AsyncClient(base_url=town.fleet.urls[1], timeout=20) as other:
        elsewhere = Person(ada.id, ada.token, other)
        async with aclosing(streamed(elsewhere, after="2")) as events:
            assert (await anext(events))["subject"] == missed["id"]
            later = await ada.order({sku: 1})
            assert (await anext(events))["subject"] == later["id"]


async def test_ops_replays_a_dead_job(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    order = await ada.order({sku: 1})
    broken = await _ledger_job(town, ada, payload={"order": order["id"]})
    dead = await ada.done(broken)
    assert (dead["state"], dead["attempts"]) == ("dead", 2)
    assert dead["error"]["code"] == "internal"
    listed = await town.ops.get("/v1/ops/jobs?state=dead")
    assert broken in [each["id"] for each in listed["jobs"]]
    assert (await ada.send(f"/v1/ops/jobs/{broken}/replay")).status_code == 403
    mended = {"$set": {"payload": {"order_id": order["id"]}}}
    await town.collection("jobs").update_one({"_id": broken}, mended)
    await town.ops.post(f"/v1/ops/jobs/{broken}/replay")
    again = await ada.done(broken)
    assert again["state"] == "succeeded"
    assert [each["state"] for each in again["history"]].count("running") == 3
    assert (await ada.look(order["id"]))["state"] == "cancelled"


async def test_an_unpaid_order_expires_on_time_and_its_stock_is_sold_again(hasty: Town):
    ada, sku = await hasty.customer(), await hasty.product(3)
    order = await ada.order({sku: 3})
    expired = await _expired(ada, order["id"])
    until = datetime.fromisoformat(order["expires_at"])
    assert timedelta() <= moment(expired, "expired") - until <= LATE
    assert await hasty.levels(sku) == (3, 0)
    assert (await ada.order({sku: 3}))["state"] == "reserved"


async def test_with_two_schedulers_each_hold_ends_once(hasty: Town):
    ada, sku = await hasty.customer(), await hasty.product(30)
    orders = await asyncio.gather(*(ada.order({sku: 1}) for _ in range(30)))
    for order in orders:
        expired = await _expired(ada, order["id"])
        assert [each["state"] for each in expired["timeline"]] == ["pending", "reserved", "expired"]
    assert await hasty.levels(sku) == (30, 0)
    told = Counter((each["type"], each["subject"]) for each in await ada.events())
    assert told == Counter(
        (kind, order["id"])
        for order in orders
        for kind in ("order.reserved", "hold.expired", "order.expired")
    )


async def test_when_the_leading_scheduler_is_killed_the_other_takes_over(hasty: Town):
    ada, sku = await hasty.customer(), await hasty.product(1)
    leader, other = await _leader_first(hasty)
    order = await ada.order({sku: 1})
    leader.kill()
    killed = utcnow()
    try:
        await eventually(lambda: _leads(other), within=30)
        expired = await _expired(ada, order["id"])
    finally:
        leader.start()
    # It asks three times in the time that the key lives.
    took = LEADER_TTL * 4 / 3
    due = max(datetime.fromisoformat(order["expires_at"]), killed + timedelta(seconds=took))
    assert moment(expired, "expired") - due <= LATE
    assert await hasty.levels(sku) == (1, 0)


async def test_without_a_scheduler_an_expired_hold_does_not_block_a_sale(hasty: Town):
    ada, bob, sku = await hasty.customer(), await hasty.customer(), await hasty.product(1)
    for scheduler in hasty.fleet.schedulers:
        scheduler.stop()
    try:
        order = await ada.order({sku: 1})
        until = datetime.fromisoformat(order["expires_at"])
        await eventually(lambda: utcnow() > until)
        assert (await ada.look(order["id"]))["state"] == "reserved"
        assert (await bob.order({sku: 1}))["state"] == "reserved"
        assert (await ada.look(order["id"]))["state"] == "expired"
        assert await hasty.levels(sku) == (0, 1)
    finally:
        for scheduler in hasty.fleet.schedulers:
            scheduler.start()
    await hasty.check_settled()


async def streamed(who: Person, *, after: str) -> AsyncGenerator[dict[str, Any], None]:
    """Events of the account's stream, without heartbeats."""
    headers = who.headers | {"Last-Event-ID": after}
    async with who.client.stream("GET", "/v1/stream", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and '"seq":' in line:
                yield event_of(line.removeprefix("data: "))


async def _expired(who: Person, order_id: str) -> dict[str, Any]:
    async def over() -> bool:
        return bool((await who.look(order_id))["state"] == "expired")

    await eventually(over, within=20)
    return await who.look(order_id)


async def _ledger_job(town: Town, owner: Person, *, payload: dict[str, Any]) -> str:
    """The id of an `orders.cancel` that is due and that no API would have accepted."""
    job_id, now = new_id(), utcnow()
    job = {
        "_id": job_id, "kind": "orders.cancel", "pool": "orders", "owner": owner.id, "key": job_id,
        "fingerprint": "", "payload": payload, "state": "queued", "attempts": 0, "created_at": now,
        "not_before": now, "history": [], "request_id": None, "subject": job_id,
    }  # fmt: skip
    await town.collection("jobs").insert_one(job)
    return job_id


async def _leader_first(town: Town) -> list[Member]:
    """The schedulers, that one first which leads."""
    await eventually(lambda: sum(map(_leads, town.fleet.schedulers)) == 1)
    return sorted(town.fleet.schedulers, key=_leads, reverse=True)


def _leads(scheduler: Member) -> bool:
    told = [line for line in said(scheduler.log).splitlines() if "scheduler." in line]
    last = [line for line in told if "scheduler.leads" in line or "scheduler.follows" in line]
    return scheduler.running() and bool(last) and "scheduler.leads" in last[-1]
