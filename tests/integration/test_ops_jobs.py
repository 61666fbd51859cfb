"""What ops find out about jobs, and do with them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditQuery
from domain.bootstrap import Services
from domain.changes import Doc
from domain.errors import Conflict, IdempotencyKeyReused, JobFinished, JobNotReplayable, NotFound, TryAgain
from domain.events.models import EVENTS
from domain.events.rules import SHOP
from domain.jobs.bulk import Plan
from domain.jobs.bulk_models import DISCARD, REPLAY
from domain.jobs.commands import Command
from domain.jobs.dead import Selection
from domain.jobs.models import JOBS
from domain.jobs.rules import SYSTEM
from domain.jobs.searching import JobSearch, Wanted
from domain.notifications.webhooks.commands import SendWebhook
from domain.notifications.webhooks.models import ENDPOINTS
from domain.notifications.webhooks.rules import first_key
from domain.orders.commands import CancelOrder, PayOrder, RefundOrder
from domain.values import new_id
from tests.api import ORDER, Api, open_api
from tests.factories import Shop, eventually

OPS = Actor("ops-1", "session:s")


@pytest.fixture
async def api(settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


async def dead_job(shop: Shop, *, fault: str = "ValueError: 3", kind: str = "orders.cancel") -> str:
    """A cancel of an order that nobody knows, dead for a fault."""
    services, job_id = shop.services, new_id()
    now = services.clock()
    error = {"code": "internal", "message": "The platform failed at this.", "detail": {}, "fault": fault}
    job: Doc = {
        "_id": job_id, "kind": kind, "pool": "orders", "owner": "ada", "key": job_id,
        "fingerprint": "", "payload": {"order_id": job_id}, "version": 1, "state": "dead", "attempts": 5,
        "created_at": now, "dispatched_at": now, "not_before": now, "started_at": now, "finished_at": now,
        "error": error,
        "history": [{"state": "queued", "at": now, "note": None}], "request_id": "r-1", "subject": job_id,
    }  # fmt: skip
    await services.database[JOBS].insert_one(job)
    return job_id


async def found(services: Services, **wanted: Any) -> list[str]:
    page = await services.job_desk.find(Wanted(**wanted))
    assert page.searched_until is None
    return [str(job["_id"]) for job in page.jobs]


# -- search ------------------------------------------------------------------------------------------


async def test_jobs_are_found_by_each_filter(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    order = await shop.place(CHAI=1)
    dead = await dead_job(shop, fault="KeyError: 'left [x] behind'")
    waiting = (await shop.submit(owner="bob", CHAI=1)).job_id
    failed = (await shop.submit(owner="cyd", CHAI=99)).job_id
    await services.order_placing.settle(failed)
    everything = sorted([order["id"], dead, waiting, failed], reverse=True)
    now = services.clock()
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, everything),
        ({"job_id": dead}, [dead]),
        ({"job_id": dead, "kind": "orders.place"}, []),
        ({"owner": "bob"}, [waiting]),
        ({"state": "dead"}, [dead]),
        ({"state": "queued"}, [waiting]),
        ({"state": "queued", "pool": "inventory"}, []),
        ({"state": "failed"}, [failed]),
        ({"state": "running"}, []),
        ({"kind": "orders.cancel"}, [dead]),
        ({"pool": "orders"}, everything),
        ({"code": "out_of_stock"}, [failed]),
        ({"text": "LEFT [x]"}, [dead]),
        ({"text": "left .x."}, []),
        ({"owner": "ada", "state": "dead"}, [dead]),
        ({"since": now + timedelta(minutes=1)}, []),
        ({"until": now - timedelta(minutes=1)}, []),
        ({"since": now - timedelta(minutes=1), "until": now + timedelta(minutes=1)}, everything),
    ]
    for wanted, expected in cases:
        assert await found(services, **wanted) == expected, wanted


async def test_an_order_s_jobs_are_found_whoever_began_them(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    order_id = (await shop.place(CHAI=1))["id"]
    paid = await submitted(services, PayOrder(order_id=order_id, source="sandbox:approve"), "ada", order_id)
    await shop.work(paid)
    back = await submitted(services, RefundOrder(order_id=order_id, reason="broken"), "clerk", order_id)
    await shop.work(back)
    assert await found(services, subject=order_id) == [back, paid, order_id]
    assert await found(services, subject=order_id, kind="orders.refund") == [back]
    assert await found(services, subject=new_id()) == []


async def test_what_told_the_shop_s_endpoint_of_an_order_is_among_its_jobs(shop: Shop, services: Services):
    await shop.stock(CHAI=1)
    order_id = (await shop.place(CHAI=1))["id"]
    endpoint: Doc = {"_id": new_id(), "account_id": SHOP, "enabled": False, "events": []}
    await services.database[ENDPOINTS].insert_one(endpoint)
    event = await services.database[EVENTS].find_one({"subject": order_id}) or {}
    sends = SendWebhook(endpoint_id=endpoint["_id"], event_id=event["_id"])
    key = first_key(endpoint["_id"], event["_id"])
    sent = await services.jobs.submit(sends, owner=SYSTEM, key=key, subject=order_id)
    assert await found(services, subject=order_id) == [sent.job_id, order_id]


async def submitted(services: Services, command: Command, owner: str, subject: str) -> str:
    accepted = await services.jobs.submit(command, owner=owner, key=new_id(), subject=subject)
    return accepted.job_id


async def test_pages_of_a_search_follow_each_other(shop: Shop, services: Services):
    dead = sorted([await dead_job(shop) for _ in range(5)], reverse=True)
    seen: list[str] = []
    position = None
    for _ in range(3):
        page = await services.job_desk.find(Wanted(state="dead", limit=2, before=position))
        seen += [job["_id"] for job in page.jobs]
        position = page.position
    assert (seen, position) == (dead, None)


async def test_a_search_that_runs_out_of_time_says_how_far_it_came(shop: Shop, services: Services):
    await dead_job(shop)
    hurried = JobSearch(database=services.database, clock=services.clock, budget=0.0)
    many = [{"_id": new_id(), "owner": "x", "kind": "x", "key": new_id(), "state": "x"} for _ in range(400)]
    await services.database[JOBS].insert_many(many, ordered=False)
    page = await hurried.find(Wanted(code="nothing"))
    assert page.jobs == []
    assert page.searched_until is not None
    assert page.position is not None


# -- one job -----------------------------------------------------------------------------------------


async def test_a_job_tells_its_whole_story_with_secrets_masked(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    order = await shop.place(CHAI=1)
    placed = await services.job_desk.show(order["id"])
    (run,) = placed["runs"]
    assert run["outcome"] == "succeeded"
    assert run["batch"]["size"] == 1
    assert run["worker"]
    assert placed["timings"]["total_ms"] >= 0
    await eventually(lambda: shown_events(services, order["id"], "order.reserved"))
    assert placed["payload"]["items"] == [{"sku": "CHAI", "quantity": 1}]


async def test_a_jobs_page_has_the_events_that_the_job_made_and_no_others(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    first, second = [(await shop.place(CHAI=1))["id"] for _ in range(2)]
    commands = CancelOrder(order_id=first), CancelOrder(order_id=second, reason="too late")
    submitted = [await services.jobs.submit(each, owner="ada", key=new_id()) for each in commands]
    cancels = [each.job_id for each in submitted]
    third = (await shop.place(CHAI=1))["id"]
    paid = await shop.submit_payment(third)
    for job_id in (*cancels, paid):
        await shop.work(job_id)
    await services.drain()

    # They are about the same orders, and not a second apart.
    assert [await made(services, job_id) for job_id in (first, second, third)] == [["order.reserved"]] * 3
    assert [await made(services, job_id) for job_id in cancels] == [["order.cancelled"]] * 2
    assert await made(services, paid) == ["order.paid", "payment.captured"]

    # Events that were stored before they named their job are told apart by time alone.
    await services.database[EVENTS].update_one(
        {"subject": first, "type": "order.cancelled"}, {"$unset": {"job_id": ""}}
    )
    assert await made(services, first) == ["order.reserved", "order.cancelled"]


async def made(services: Services, job_id: str) -> list[str]:
    return [event["type"] for event in (await services.job_desk.show(job_id))["events"]]


async def shown_events(services: Services, job_id: str, kind: str) -> bool:
    return kind in await made(services, job_id)


async def test_each_run_keeps_its_error_and_trace(shop: Shop, services: Services):
    job_id = new_id()
    now = services.clock()
    await services.database[JOBS].insert_one(
        {
            "_id": job_id, "kind": "orders.cancel", "pool": "orders", "owner": "ada", "key": job_id,
            "fingerprint": "", "payload": {"broken": True}, "version": 1, "state": "queued", "attempts": 0,
            "created_at": now, "dispatched_at": now, "not_before": now,
            "history": [{"state": "queued", "at": now, "note": None}], "request_id": None, "subject": job_id,
        }
    )  # fmt: skip
    for _ in range(2):
        await shop.work(job_id)
    story = await services.job_desk.show(job_id)
    assert [run["outcome"] for run in story["runs"]] == ["retried", "retried"]
    for run in story["runs"]:
        assert run["error"]["code"] == "internal"
        assert run["error"]["fault"].startswith("ValidationError")
        assert run["error"]["trace"].startswith("Traceback")
        assert run["worker"]
    assert story["payload"] == {"broken": "***"}
    owners = (await services.signals.look(job_id) or ("", {}))[1]
    assert "trace" not in str(owners)


async def test_nobody_s_job_has_no_story(services: Services):
    with pytest.raises(NotFound):
        await services.job_desk.show(new_id())


# -- acts --------------------------------------------------------------------------------------------


async def test_a_job_sent_ahead_passes_what_waits_and_runs_once(shop: Shop, services: Services):
    await shop.stock(CHAI=5)
    waiting = [(await shop.submit(CHAI=1)).job_id for _ in range(3)]
    job = await services.job_desk.expedite(waiting[2], actor=OPS, reason="the customer waits")
    assert job["state"] == "queued"
    assert "sent ahead by ops-1: the customer waits" in [line["note"] for line in job["history"]]
    await services.job_desk.expedite(waiting[2], actor=OPS)
    await shop.work(waiting[2])
    with pytest.raises(JobFinished):
        await services.job_desk.expedite(waiting[2], actor=OPS)
    with pytest.raises(NotFound):
        await services.job_desk.expedite(new_id(), actor=OPS)


async def test_acts_are_in_the_audit_log_with_what_they_changed(shop: Shop, services: Services):
    job_id = await dead_job(shop)
    await services.job_desk.replay(job_id, actor=OPS, reason="cured")
    with pytest.raises(JobNotReplayable):
        await services.job_desk.replay(job_id, actor=OPS)
    await services.job_desk.cancel(job_id, actor=OPS)
    rows = await services.audit_log.find(AuditQuery(thing_id=job_id))
    assert [(row["action"], row["outcome"]) for row in rows] == [
        ("jobs.cancel", "done"),
        ("jobs.replay", "refused"),
        ("jobs.replay", "done"),
    ]
    done = rows[-1]
    assert (done["actor"], done["reason"]) == ("ops-1", "cured")
    assert (done["before"]["state"], done["after"]["state"]) == ("dead", "queued")
    assert rows[1]["error"]["code"] == "job_not_replayable"


# -- bulk --------------------------------------------------------------------------------------------


async def run_bulk(shop: Shop, plan: Plan, key: str = "k") -> Doc:
    accepted = await shop.services.job_desk.bulk.start(plan, actor=OPS, key=key)
    await shop.work(accepted.job_id)
    return await shop.services.job_desk.bulk.get(accepted.job_id)


async def test_an_act_that_is_cut_short_or_not_decided_says_so_in_the_audit_log(services: Services):
    begun = asyncio.Event()

    async def act() -> None:
        async with services.audit_log.acting(Entry(OPS, "test.act", "test", "t-1")):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(act())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TryAgain):
        async with services.audit_log.acting(Entry(OPS, "test.act", "test", "t-2")):
            raise TryAgain("others were first")
    entries = await services.audit_log.find(AuditQuery(action="test.act"))
    assert [(entry["outcome"], entry["error"]["code"]) for entry in entries] == [
        ("busy", "try_again"), ("failed", "interrupted"),
    ]  # fmt: skip


async def test_a_group_of_dead_jobs_is_replayed_after_a_look_at_what_would_happen(
    shop: Shop, services: Services
):
    same = [await dead_job(shop, fault=f"KeyError: {n}") for n in range(3)]
    other = await dead_job(shop, fault="ValueError: no")
    desk = services.job_desk
    groups, more = await desk.dead.groups()
    assert ([group.count for group in groups], more) == ([3, 1], False)
    plan = Plan(REPLAY, Selection(group=groups[0].key), rate=200.0, reason="cured")
    preview = await desk.bulk.preview(plan)
    assert [job["_id"] for job in preview.jobs] == same
    assert [(await shop.job(job_id))["state"] for job_id in same] == ["dead"] * 3
    run = await run_bulk(shop, plan)
    assert (run["state"], run["size"], run["done"], run["refused"]) == ("done", 3, 3, 0)
    assert [(await shop.job(job_id))["state"] for job_id in same] == ["queued"] * 3
    assert (await shop.job(other))["state"] == "dead"
    with pytest.raises(Conflict):
        await desk.bulk.start(plan, actor=OPS, key="another")
    again = await desk.bulk.start(plan, actor=OPS, key="k")
    assert (again.job_id, again.replayed) == (run["_id"], True)
    with pytest.raises(IdempotencyKeyReused):
        await desk.bulk.start(Plan(DISCARD, Selection(group=groups[0].key)), actor=OPS, key="k")


async def test_a_run_that_is_cut_short_and_begun_again_counts_and_does_each_job_once(
    shop: Shop, services: Services
):
    jobs = [await dead_job(shop) for _ in range(4)]
    desk = services.job_desk
    accepted = await desk.bulk.start(
        Plan(REPLAY, Selection(kind="orders.cancel"), rate=200.0), actor=OPS, key="k"
    )
    row = await services.database["bulk_runs"].find_one({"_id": accepted.job_id})
    assert row is not None
    # As a worker does that is killed before it can tell how far it came.
    await asyncio.gather(*(desk.bulk_work._one(row, job_id) for job_id in jobs[:2]))
    await shop.work(accepted.job_id)
    run = await desk.bulk.get(accepted.job_id)
    assert (run["taken"], run["done"], run["refused"]) == (4, 4, 0)
    for job_id in jobs:
        history = (await shop.job(job_id))["history"]
        assert [line.get("bulk") for line in history].count(accepted.job_id) == 1


async def test_two_runs_over_the_same_jobs_replay_each_once(shop: Shop, services: Services):
    jobs = [await dead_job(shop) for _ in range(6)]
    desk, plan = services.job_desk, Plan(REPLAY, Selection(kind="orders.cancel"), rate=200.0)
    first, second = [await desk.bulk.start(plan, actor=OPS, key=key) for key in ("a", "b")]
    await asyncio.gather(shop.work(first.job_id), shop.work(second.job_id))
    runs = [await desk.bulk.get(each.job_id) for each in (first, second)]
    assert [run["state"] for run in runs] == ["done", "done"]
    assert sum(run["done"] for run in runs) == 6
    for job_id in jobs:
        history = (await shop.job(job_id))["history"]
        assert [line["state"] for line in history] == ["queued", "queued"]


async def test_discarded_jobs_are_cancelled_with_a_note_and_stay_so(shop: Shop, services: Services):
    jobs = [await dead_job(shop) for _ in range(2)]
    run = await run_bulk(
        shop, Plan(DISCARD, Selection(job_ids=(*jobs, new_id())), rate=200.0, reason="of a test")
    )
    assert (run["size"], run["done"]) == (2, 2)
    for job_id in jobs:
        job = await shop.job(job_id)
        assert (job["state"], job["history"][-1]["note"]) == ("cancelled", "by ops-1: of a test")


async def test_a_job_that_died_again_is_not_discarded_by_a_run_from_before(shop: Shop, services: Services):
    job_id = await dead_job(shop)
    desk = services.job_desk
    plan = Plan(DISCARD, Selection(job_ids=(job_id,)), rate=200.0)
    accepted = await desk.bulk.start(plan, actor=OPS, key="k")
    later = services.clock() + timedelta(seconds=1)
    await services.database[JOBS].update_one({"_id": job_id}, {"$set": {"finished_at": later}})
    await shop.work(accepted.job_id)
    run = await desk.bulk.get(accepted.job_id)
    assert (run["done"], run["refused"]) == (0, 1)
    assert (await shop.job(job_id))["state"] == "dead"


async def test_a_run_whose_job_was_cancelled_has_stopped_until_that_is_replayed(
    shop: Shop, services: Services
):
    job_id = await dead_job(shop)
    desk = services.job_desk
    plan = Plan(REPLAY, Selection(job_ids=(job_id,)), rate=200.0)
    accepted = await desk.bulk.start(plan, actor=OPS, key="k")
    await desk.cancel(accepted.job_id, actor=OPS)
    (listed,) = await desk.bulk.find()
    assert (listed["state"], listed["taken"]) == ("stopped", 0)
    assert listed["ended_at"] is not None
    await desk.replay(accepted.job_id, actor=OPS)
    await shop.work(accepted.job_id)
    assert (await desk.bulk.get(accepted.job_id))["state"] == "done"
    assert (await shop.job(job_id))["state"] == "queued"


async def test_a_stopped_run_takes_no_more(shop: Shop, services: Services):
    for _ in range(4):
        await dead_job(shop)
    desk = services.job_desk
    accepted = await desk.bulk.start(
        Plan(REPLAY, Selection(kind="orders.cancel"), rate=2.0), actor=OPS, key="k"
    )
    work = asyncio.create_task(shop.work(accepted.job_id))
    await eventually(lambda: taken(services, accepted.job_id))
    await desk.bulk.stop(accepted.job_id, actor=OPS, reason="enough")
    await work
    run = await desk.bulk.get(accepted.job_id)
    assert run["state"] == "stopped"
    assert 0 < run["taken"] < 4
    assert (await desk.bulk.stop(accepted.job_id, actor=OPS))["state"] == "stopped"
    with pytest.raises(NotFound):
        await desk.bulk.stop(new_id(), actor=OPS)


async def taken(services: Services, run_id: str) -> bool:
    return bool((await services.job_desk.bulk.get(run_id))["taken"])


async def test_a_kind_that_nobody_knows_is_not_replayed(shop: Shop, services: Services):
    await dead_job(shop, kind="old.kind")
    preview = await services.job_desk.bulk.preview(Plan(REPLAY, Selection(kind="old.kind")))
    assert preview.jobs == []
    assert [each.code for each in preview.refused] == ["unknown_kind"]


# -- over HTTP ---------------------------------------------------------------------------------------


async def test_only_ops_see_and_touch_the_jobs_of_others(api: Api):
    owner = api.user()
    job_id = (await owner.post("/v1/orders", ORDER)).json()["job_id"]
    reads = ["/v1/ops/jobs", f"/v1/ops/jobs/{job_id}", "/v1/ops/dead", "/v1/ops/bulk", "/v1/ops/audit-log",
             f"/v1/ops/orders/{job_id}/timeline", "/v1/ops/stuck"]  # fmt: skip
    reader = api.user("ops:read")
    for path in reads:
        assert (await owner.get(path)).status_code == 403, path
        assert (await reader.get(path)).status_code == 200, path
    bulk = {"action": "replay", "select": {"kind": "orders.cancel"}}
    writes: list[tuple[str, Any]] = [
        (f"/v1/ops/jobs/{job_id}/replay", None), (f"/v1/ops/jobs/{job_id}/cancel", None),
        (f"/v1/ops/jobs/{job_id}/expedite", None), ("/v1/ops/dead/bulk", bulk),
        (f"/v1/ops/bulk/{job_id}/stop", None),
        ("/v1/ops/stuck/repair", {"repair": "expedite", "id": job_id}),
    ]  # fmt: skip
    for path, body in writes:
        assert (await reader.post(path, body)).status_code == 403, path
    ghost = new_id()
    ops = api.user("ops:read", "ops:write")
    for path, body in [(p.replace(job_id, ghost), b) for p, b in writes if job_id in p]:
        assert (await ops.post(path, body)).status_code == 404, path
    assert (await reader.get(f"/v1/ops/jobs/{ghost}")).status_code == 404
    assert (await reader.get(f"/v1/ops/orders/{ghost}/timeline")).status_code == 404


async def test_dead_jobs_are_replayed_over_http(api: Api):
    job_id = await dead_job(api.shop)
    ops = api.user("ops:read", "ops:write")
    (group,) = (await ops.get("/v1/ops/dead")).json()["groups"]
    assert (group["count"], group["sample"]["id"]) == (1, job_id)
    wanted = {"action": "replay", "select": {"group": group["group"]}, "rate": 100, "reason": "cured"}
    preview = (await ops.post("/v1/ops/dead/preview", wanted)).json()
    assert (preview["jobs"], preview["by_kind"]) == (1, {"orders.cancel": 1})
    accepted = await ops.post("/v1/ops/dead/bulk", wanted, key="once")
    assert accepted.status_code == 202
    repeated = await ops.post("/v1/ops/dead/bulk", wanted, key="once")
    assert repeated.headers["idempotent-replayed"] == "true"
    await api.shop.work(accepted.json()["job_id"])
    run = (await ops.get(accepted.json()["links"]["bulk"])).json()
    assert (run["state"], run["done"], run["selection"]) == ("done", 1, {"group": group["group"]})
    assert (await ops.get("/v1/ops/bulk")).json()["runs"] == [run]
    entries = (await ops.get("/v1/ops/audit-log", params={"thing": "bulk"})).json()["entries"]
    assert [entry["action"] for entry in entries] == ["jobs.bulk_replay_ended", "jobs.bulk_replay"]
    assert entries[1]["actor"] == ops.id
    assert entries[1]["via"].startswith("session:")


async def test_a_bulk_order_that_makes_no_sense_is_refused(api: Api, subtests: pytest.Subtests):
    cases: list[dict[str, Any]] = [
        {"action": "replay", "select": {}},
        {"action": "burn", "select": {"kind": "orders.pay"}},
        {"action": "replay", "select": {"group": "x"}},
        {"action": "replay", "select": {"kind": " "}},
        {"action": "replay", "select": {"kind": "a\x00b"}},
        {"action": "replay", "select": {"job_ids": []}},
        {"action": "replay", "select": {"kind": "orders.pay"}, "rate": 0},
        {"action": "replay", "select": {"kind": "orders.pay"}, "rate": 1000},
        {"action": "replay", "select": {"kind": "orders.pay"}, "fast": True},
    ]
    ops = api.user("ops:write")
    for body in cases:
        with subtests.test(body=str(body)):
            answer = await ops.post("/v1/ops/dead/bulk", body)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


async def test_the_audit_log_is_read_page_by_page(api: Api):
    ops = api.user("ops:read", "ops:write")
    jobs = [await dead_job(api.shop) for _ in range(3)]
    for job_id in jobs:
        assert (await ops.post(f"/v1/ops/jobs/{job_id}/replay", {"reason": "cured"})).status_code == 200
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(2):
        query = {"actor": ops.id, "limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await ops.get("/v1/ops/audit-log", params=query)).json()
        seen += [entry["thing_id"] for entry in answer["entries"]]
        cursor = answer["next_cursor"]
    assert (seen, cursor) == (jobs[::-1], None)
    none = await ops.get("/v1/ops/audit-log", params={"outcome": "failed"})
    assert none.json()["entries"] == []
    bad = await ops.get("/v1/ops/audit-log", params={"cursor": "WzFd"})
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid_cursor")
