"""An order's story, what is stuck, and its repair."""

from datetime import timedelta
from typing import Any

import pytest

from domain.audit_log.models import Actor
from domain.audit_log.service import AuditQuery
from domain.bootstrap import Services
from domain.errors import Conflict, Invalid, JobNotReplayable, NotFound, OrderNotFound
from domain.events.models import OUTBOX
from domain.inventory.models import HOLDS
from domain.jobs.models import JOBS
from domain.orders.commands import PayOrder
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop, eventually

OPS = Actor("ops-1", "session:s")


async def change_job(services: Services, job_id: str, **fields: Any) -> None:
    await services.database[JOBS].update_one({"_id": job_id}, {"$set": fields})


async def stuck(services: Services, **after: float) -> dict[str, Any]:
    """What is stuck, by id."""
    found = await services.order_desk.stuck.find(after=timedelta(**(after or {"minutes": 5})))
    return {each.id: each for each in found}


# -- timeline ----------------------------------------------------------------------------------------


async def test_an_order_s_timeline_goes_through_all_that_it_went_through(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    order_id = (await shop.place(CHAI=2))["id"]
    payment = await services.jobs.submit(
        PayOrder(order_id=order_id, source="sandbox:approve"),
        owner="ada", key="pay", subject=order_id, request_id="r-7",
    )  # fmt: skip
    await services.job_desk.expedite(payment.job_id, actor=OPS, reason="the customer waits")
    await shop.work(payment.job_id)
    await services.drain()
    story = await services.order_desk.timeline.of(order_id)
    assert (story["state"], story["account_id"], story["complete"]) == ("paid", "ada", True)
    assert {job["id"]: job["state"] for job in story["jobs"] if job["kind"].startswith("orders.")} == {
        order_id: "succeeded",
        payment.job_id: "succeeded",
    }
    said = [(line["source"], line["says"]) for line in story["lines"]]
    for expected in [
        ("api", "orders.place was accepted"),
        ("queue", "orders.place was sent to the pool orders"),
        ("worker", "orders.place succeeded"),
        ("hold", "2 units were held"),
        ("order", "the order is reserved"),
        ("event", "order.reserved was recorded"),
        ("api", "orders.pay was accepted"),
        ("ops", "jobs.expedite by ops-1: the customer waits"),
        ("worker", "orders.pay began"),
        ("payment", "a payment began"),
        ("payment", "the payment was captured"),
        ("hold", "the hold was committed: paid"),
        ("event", "order.paid was recorded"),
    ]:
        assert any(
            line == expected or (line[0] == expected[0] and line[1].startswith(expected[1])) for line in said
        ), (
            expected,
            said,
        )
    assert [line["at"] for line in story["lines"]] == sorted(line["at"] for line in story["lines"])
    assert "sandbox:approve" not in str(story)


async def test_an_order_that_is_not_placed_yet_has_its_job_s_lines(shop: Shop, services: Services):
    order_id = (await shop.submit(CHAI=1)).job_id
    story = await services.order_desk.timeline.of(order_id)
    assert (story["state"], story["account_id"]) == ("pending", "ada")
    assert [line["source"] for line in story["lines"]] == ["api", "queue"]


async def test_a_compacted_order_still_has_its_ends(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    order_id = (await shop.place(CHAI=1))["id"]
    await services.database[JOBS].update_one({"_id": order_id}, {"$unset": {"history": "", "payload": ""}})
    story = await services.order_desk.timeline.of(order_id)
    assert not story["complete"]
    assert ("worker", "orders.place ended: succeeded") in [
        (each["source"], each["says"]) for each in story["lines"]
    ]
    job = await services.job_desk.show(order_id)
    assert (job["payload"], job["history"], job["runs"]) == (None, None, [])


async def test_what_is_no_order_has_no_timeline(shop: Shop, services: Services):
    await shop.stock(CHAI=1)
    reservation = await shop.reserve(CHAI=1)
    for order_id in (new_id(), reservation):
        with pytest.raises(OrderNotFound):
            await services.order_desk.timeline.of(order_id)


# -- stuck -------------------------------------------------------------------------------------------


async def test_nothing_is_stuck_while_all_is_well(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    await shop.place(CHAI=1)
    await shop.submit(CHAI=1)
    await services.drain()
    assert await stuck(services) == {}


async def test_jobs_that_wait_for_long_are_found_with_the_reason(
    shop: Shop, services: Services, clock: MovableClock
):
    jobs = [(await shop.submit(CHAI=1)).job_id for _ in range(4)]
    unfetched, unsent, retrying, held = jobs
    now = services.clock()
    await change_job(services, unsent, dispatched_at=None, not_before=now)
    error = {"code": "internal", "message": "x", "detail": {}}
    await change_job(services, retrying, dispatched_at=None, attempts=2, failing_since=now, error=error)
    await change_job(services, held, dispatched_at=None, not_before=now.replace(year=9000))
    clock.move(minutes=6)
    found = await stuck(services)
    assert {job_id: found[job_id].what for job_id in jobs} == {
        unfetched: "job_unfetched",
        unsent: "job_unsent",
        retrying: "job_retrying",
        held: "job_held",
    }
    assert {each.repair for each in found.values()} == {"expedite"}
    assert "internal" in found[retrying].says
    assert "2 of" in found[retrying].says
    await services.control.queues.pause("orders", by=OPS)
    assert {each.what for each in (await stuck(services)).values()} == {"job_paused"}


async def test_a_replayed_job_waits_since_its_replay(shop: Shop, services: Services, clock: MovableClock):
    job_id = (await shop.submit(CHAI=1)).job_id
    await change_job(services, job_id, state="dead", finished_at=services.clock())
    clock.move(minutes=60)
    await services.job_desk.replay(job_id, actor=OPS)
    assert await stuck(services) == {}
    oldest = await services.jobs.oldest("orders")
    assert oldest is not None
    assert services.clock() - oldest < timedelta(minutes=5)
    clock.move(minutes=6)
    assert set(await stuck(services)) == {job_id}


async def test_a_silent_worker_s_job_is_found_and_taken_back(
    shop: Shop, services: Services, clock: MovableClock
):
    job_id = (await shop.submit(CHAI=1)).job_id
    now = services.clock()
    await change_job(services, job_id, state="running", attempt_id="a", started_at=now, lease_until=now)
    slow = (await shop.submit(CHAI=1)).job_id
    far = now + timedelta(hours=1)
    await change_job(services, slow, state="running", attempt_id="b", started_at=now, lease_until=far)
    clock.move(minutes=6)
    found = await stuck(services)
    assert (found[job_id].what, found[job_id].repair) == ("job_silent", "take_back")
    assert (found[slow].what, found[slow].repair) == ("job_slow", None)
    other = (await shop.submit(CHAI=1)).job_id
    await change_job(services, other, state="running", attempt_id="c", started_at=now, lease_until=now)
    repairs = services.order_desk.repairs
    done = await repairs.repair("take_back", job_id, actor=OPS, reason="host gone")
    assert done["taken_back"] == 1
    # That job, and no other.
    states = [(await shop.job(each))["state"] for each in (job_id, other, slow)]
    assert states == ["queued", "running", "running"]
    for nothing in (job_id, slow):
        with pytest.raises(Conflict):
            await repairs.repair("take_back", nothing, actor=OPS)
    with pytest.raises(NotFound):
        await repairs.repair("take_back", new_id(), actor=OPS)


async def test_an_overdue_hold_is_ended_by_its_repair_and_no_other(
    shop: Shop, services: Services, clock: MovableClock
):
    await shop.stock(CHAI=5)
    order_id = (await shop.place(CHAI=2))["id"]
    repairs = services.order_desk.repairs
    assert (await repairs.repair("end_hold", order_id, actor=OPS))["expired"] == 0
    clock.move(hours=1)
    found = await stuck(services)
    assert (found[order_id].what, found[order_id].subject) == ("hold_overdue", order_id)
    for ended in (1, 0):
        assert (await repairs.repair("end_hold", order_id, actor=OPS))["expired"] == ended
    assert (await services.database[HOLDS].find_one({"_id": order_id}) or {})["state"] == "released"
    assert await stuck(services) == {}
    with pytest.raises(NotFound):
        await repairs.repair("end_hold", new_id(), actor=OPS)
    rows = await services.audit_log.find(AuditQuery(action="repair.end_hold"))
    assert [row["outcome"] for row in rows] == ["refused", "done", "done", "done"]


async def test_events_that_nobody_told_are_found_and_told(
    shop: Shop, services: Services, clock: MovableClock
):
    await shop.stock(CHAI=5)
    order_id = (await shop.place(CHAI=1))["id"]
    await services.drain()
    event = await services.database["events"].find_one({"subject": order_id})
    assert event is not None
    row_id = new_id()
    await services.database[OUTBOX].insert_one({"_id": row_id, "events": [event["_id"]]})
    clock.move(minutes=6)
    found = await stuck(services)
    assert (found[row_id].what, found[row_id].repair) == ("events_untold", "republish")
    assert (await services.order_desk.repairs.repair("republish", row_id, actor=OPS))["told"] >= 1
    await eventually(lambda: none_left(services))


async def none_left(services: Services) -> bool:
    return await services.database[OUTBOX].count_documents({}) == 0


async def test_an_order_whose_job_is_dead_is_found_at_once(shop: Shop, services: Services):
    order_id = (await shop.submit(CHAI=1)).job_id
    error = {"code": "internal", "message": "x", "detail": {}, "fault": "KeyError: 'x'"}
    await change_job(services, order_id, state="dead", finished_at=services.clock(), error=error)
    found = await stuck(services)
    assert (found[order_id].what, found[order_id].thing) == ("order_dead", "order")
    repairs = services.order_desk.repairs
    assert (await repairs.repair("replay", order_id, actor=OPS))["state"] == "queued"
    with pytest.raises(JobNotReplayable):
        await repairs.repair("replay", order_id, actor=OPS)
    with pytest.raises(Invalid):
        await repairs.repair("pray", order_id, actor=OPS)
