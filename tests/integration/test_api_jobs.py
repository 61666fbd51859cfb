"""Jobs and reservations over HTTP."""

from collections import Counter
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.jobs.models import JOBS
from domain.jobs.rules import cache_key
from tests.api import ORDER, Api

RESERVE = {"items": [{"sku": "CHAI", "quantity": 2}]}


async def test_a_job_is_shown_to_its_owner_and_to_ops(api: Api):
    owner = api.user()
    job_id = (await owner.post("/v1/orders", ORDER)).json()["job_id"]
    job = (await owner.get(f"/v1/jobs/{job_id}")).json()
    assert (job["kind"], job["state"], job["owner"]) == ("orders.place", "queued", owner.id)
    assert [step["state"] for step in job["history"]] == ["queued"]
    assert (await api.user("ops:read").get(f"/v1/jobs/{job_id}")).json() == job
    stranger = api.user("ops:write")
    for answer in (
        await stranger.get(f"/v1/jobs/{job_id}"),
        await stranger.get(f"/v1/jobs/{job_id}", params={"wait": 30}),
        await api.user().post(f"/v1/jobs/{job_id}/cancel"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_an_ended_job_is_shown_with_its_result(api: Api):
    await api.shop.stock(CHAI=1)
    user = api.user()
    job_id = (await user.post("/v1/orders", ORDER)).json()["job_id"]
    await api.settle(job_id)
    job = (await user.get(f"/v1/jobs/{job_id}", params={"wait": 5})).json()
    assert (job["state"], job["error"]["code"]) == ("failed", "out_of_stock")


async def test_a_job_is_cancelled_by_its_owner_and_replayed_by_ops(api: Api):
    owner, ops = api.user(), api.user("ops:write", "ops:read")
    job_id = (await owner.post("/v1/orders", ORDER)).json()["job_id"]
    for _ in range(2):
        cancelled = await owner.post(f"/v1/jobs/{job_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (await owner.post(f"/v1/ops/jobs/{job_id}/replay")).status_code == 403
    replayed = await ops.post(f"/v1/ops/jobs/{job_id}/replay")
    assert (replayed.status_code, replayed.json()["state"]) == (200, "queued")
    again = await ops.post(f"/v1/ops/jobs/{job_id}/replay")
    assert (again.status_code, again.json()["code"]) == (409, "job_not_replayable")
    assert (await owner.post(f"/v1/jobs/{job_id}/replay")).status_code == 403
    for prefix in ("/v1/jobs", "/v1/ops/jobs"):
        for verb, state in (("cancel", "cancelled"), ("replay", "queued")):
            answer = await ops.post(f"{prefix}/{job_id}/{verb}")
            assert (answer.status_code, answer.json()["state"]) == (200, state)
            shown = answer.json()
            assert (shown["owner"], shown["history"][-1]["state"]) == (owner.id, state)
    acts = (await ops.get("/v1/ops/audit-log", params={"thing_id": job_id})).json()["entries"]
    assert Counter(act["action"] for act in acts) == {"jobs.replay": 4, "jobs.cancel": 2}


async def test_a_form_of_a_job_that_may_be_run_again_is_not_kept_for_long(api: Api):
    await api.shop.stock(CHAI=1)
    user = api.user()
    failed = (await user.post("/v1/orders", ORDER)).json()["job_id"]
    await api.settle(failed)
    await api.shop.stock(TEA=100)
    order = {**ORDER, "items": [{"sku": "TEA", "quantity": 1}]}
    placed = (await user.post("/v1/orders", order)).json()["job_id"]
    await api.settle(placed)
    await api.services.signals.drain()
    redis = Redis.from_url(api.services.settings.redis.url)
    try:
        assert 0 < await redis.ttl(cache_key(failed)) <= 5
        assert await redis.ttl(cache_key(placed)) > 60
    finally:
        await redis.aclose()


async def test_jobs_are_found_by_state_kind_and_age(api: Api):
    owner, ops = api.user(), api.user("ops:read")
    placed = [(await owner.post("/v1/orders", ORDER)).json()["id"] for _ in range(3)]
    held = (await owner.post("/v1/reservations", RESERVE)).json()["id"]
    await owner.post(f"/v1/jobs/{placed[0]}/cancel")

    async def ids(**query: str) -> list[str]:
        answer = await ops.get("/v1/ops/jobs", params=query)
        return [job["id"] for job in answer.json()["jobs"]]

    assert await ids() == [held, *placed[::-1]]
    assert await ids(kind="inventory.reserve") == [held]
    assert await ids(state="cancelled") == [placed[0]]
    assert await ids(state="queued", kind="orders.place") == placed[:0:-1]
    assert await ids(older_than="15m") == []
    assert await ids(older_than="0ms") == [held, *placed[::-1]]
    first = (await ops.get("/v1/ops/jobs", params={"limit": 2})).json()
    assert [job["id"] for job in first["jobs"]] == [held, placed[2]]
    assert await ids(cursor=first["next_cursor"]) == placed[1::-1]
    everybodys = (await ops.get("/v1/jobs", params={"limit": 2})).json()
    assert [job["id"] for job in everybodys["jobs"]] == [held, placed[2]]
    query = {"cursor": everybodys["next_cursor"], "kind": "orders.place"}
    assert [job["id"] for job in (await ops.get("/v1/jobs", params=query)).json()["jobs"]] == placed[1::-1]
    assert (await api.user().get("/v1/jobs")).json()["jobs"] == []
    own = (await owner.get("/v1/jobs", params={"state": "queued", "kind": "orders.place"})).json()["jobs"]
    assert [job["id"] for job in own] == placed[:0:-1]


async def test_a_filter_that_makes_no_sense_is_refused(api: Api, subtests: pytest.Subtests):
    cases = [
        {"state": "lost"},
        {"older_than": "yesterday"},
        {"older_than": "999999999d"},
        {"older_than": "-1s"},
        {"kind": "x" * 101},
    ]
    for query in cases:
        with subtests.test(query=str(query)[:80]):
            answer = await api.user("ops:read").get("/v1/ops/jobs", params=query)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
            assert answer.json()["errors"][0]["field"] == f"query.{next(iter(query))}"


async def test_a_reservation_is_made_seen_and_released(api: Api):
    await api.shop.stock(CHAI=5)
    user = api.user()
    accepted = await user.post("/v1/reservations", RESERVE)
    assert accepted.status_code == 202
    here = accepted.json()["links"]["self"]
    pending = (await user.get(here)).json()
    assert (pending["state"], pending["lines"]) == (
        "pending",
        [{"sku": "CHAI", "quantity": 2, "location": None}],
    )
    await api.services.reservation_placing.settle(accepted.json()["id"])
    held = (await user.get(here, params={"wait": 5})).json()
    assert (held["state"], held["lines"]) == (
        "held",
        [{"sku": "CHAI", "quantity": 2, "location": "main"}],
    )
    assert held["expires_at"] > held["created_at"]
    assert (await api.user().get(here)).status_code == 404
    assert (await api.user().delete(here)).status_code == 404
    released = await user.delete(here)
    again = await user.delete(here)
    assert (released.status_code, again.status_code) == (202, 202)
    assert released.content == again.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_reservation_that_does_not_fit_says_why(api: Api):
    await api.shop.stock(CHAI=1)
    user = api.user()
    accepted = (await user.post("/v1/reservations", RESERVE)).json()
    await api.services.reservation_placing.settle(accepted["id"])
    rejected = (await user.get(accepted["links"]["self"])).json()
    assert (rejected["state"], rejected["rejection"]["code"]) == ("rejected", "out_of_stock")


async def test_metrics_tell_how_old_the_oldest_queued_job_is(api: Api):
    job_id = (await api.user().post("/v1/orders", ORDER)).json()["job_id"]
    past = api.services.clock() - timedelta(minutes=5)
    await api.services.database[JOBS].update_one({"_id": job_id}, {"$set": {"created_at": past}})
    text = (await api.client.get("/metrics")).text
    ages = [line for line in text.splitlines() if line.startswith("stockyard_oldest_queued_seconds{")]
    by_pool = {line.split('"')[1]: float(line.split()[-1]) for line in ages}
    assert 300 <= by_pool["orders"] < 330
    assert 'stockyard_queue_depth{pool="orders"} 1.0' in text
    assert 'route="/v1/orders",status="202"' in text
