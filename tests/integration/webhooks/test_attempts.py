"""Attempts: what follows on each answer, until an endpoint is disabled; and their log."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from domain.bootstrap import Services
from domain.changes import Doc
from domain.notifications.webhooks.commands import SendWebhook
from domain.notifications.webhooks.rules import ATTEMPTS, PAUSES
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.receiver import Receiver, answer
from tests.webhooks import Post
from workers.handles import run_job
from workers.kinds import HANDLED


def told_to(post: Post) -> Doc:
    return {"type": "webhook.disabled", "account_id": post.me}


async def test_what_is_not_taken_is_tried_again_by_the_schedule_and_then_failed(
    post: Post, receiver: Receiver, clock: MovableClock
):
    receiver.answers["/"] = answer(500, "broken")
    endpoint = await post.endpoint()
    await post.happen()
    started = post.services.clock()
    for pause in PAUSES:
        (job,) = await post.send()
        assert (job["state"], job["attempts"]) == ("queued", 0)
        due = job["not_before"] - post.services.clock()
        assert pause - timedelta(seconds=5) <= due <= pause * 1.1
        delivery = await post.delivery(endpoint, job)
        assert delivery["state"] == "pending"
        assert abs(delivery["next_at"] - job["not_before"]) < timedelta(seconds=5)
        clock.move(seconds=(job["not_before"] - post.services.clock()).total_seconds())
    (job,) = await post.send()
    assert (job["state"], job["error"]["code"]) == ("failed", "webhook_undelivered")
    assert job["error"]["detail"] == {"endpoint": endpoint["_id"], "attempts": ATTEMPTS, "status": 500}
    assert timedelta(hours=70) < post.services.clock() - started < timedelta(days=4)
    delivery = await post.delivery(endpoint, job)
    assert (delivery["state"], delivery["tries"], delivery["next_at"]) == ("failed", ATTEMPTS, None)
    assert len(delivery["attempts"]) == ATTEMPTS == len(receiver.calls)
    assert {call.headers["webhook-id"] for call in receiver.calls} == {delivery["event_id"]}
    assert len({call.headers["webhook-timestamp"] for call in receiver.calls}) == ATTEMPTS
    assert delivery["attempts"][0].items() >= {"status": 500, "error": None, "body": "broken"}.items()


async def test_a_success_ends_it_and_forgets_the_failures(post: Post, receiver: Receiver):
    receiver.answers["/"] = answer(503)
    endpoint = await post.endpoint()
    await post.happen()
    await post.send()
    failing = await post.stored(endpoint)
    assert (failing["failures"], failing["failing_since"] is not None) == (1, True)
    del receiver.answers["/"]
    (job,) = await post.send()
    assert (job["state"], job["result"]["attempts"]) == ("succeeded", 2)
    well = await post.stored(endpoint)
    assert (well["failures"], well.get("failing_since")) == (0, None)
    assert well["revision"] == endpoint["revision"]


async def test_a_receiver_is_not_asked_again_before_it_wants_to_be(post: Post, receiver: Receiver):
    receiver.answers["/"] = answer(429, Retry_After="600")
    await post.endpoint()
    await post.happen()
    (job,) = await post.send()
    due = job["not_before"] - post.services.clock()
    assert timedelta(seconds=590) < due <= timedelta(seconds=600)


async def test_gone_disables_the_endpoint_and_its_owner_is_told(post: Post, receiver: Receiver):
    receiver.answers["/"] = answer(410)
    endpoint, other = await post.endpoint(), await post.endpoint(path="/other", events=["webhook.*"])
    await post.happen()
    (job,) = await post.send(endpoint)
    assert (job["state"], job["error"]["detail"]["status"]) == ("failed", 410)
    stored = await post.stored(endpoint)
    assert (stored["enabled"], stored["disabled_for"]) == (False, "gone")
    await post.services.events.drain()
    (told,) = await post.jobs(other)
    event = await post.services.database["events"].find_one({"_id": told["payload"]["event_id"]})
    assert event is not None
    assert (event["type"], event["account_id"], event["subject"]) == (
        "webhook.disabled", post.me, endpoint["_id"],
    )  # fmt: skip
    assert event["data"].items() >= {"reason": "gone", "url": endpoint["url"]}.items()
    await post.happen()
    assert len(await post.jobs(endpoint)) == 1


async def test_an_endpoint_that_keeps_failing_is_disabled_once_it_has_for_long_enough(
    post: Post, receiver: Receiver, clock: MovableClock
):
    receiver.answers["/"] = answer(500)
    endpoint = await post.endpoint()
    for _ in range(2):
        await post.happen()
        for _ in range(7):
            await post.send()
    failing = await post.stored(endpoint)
    # The first delivery's twelve attempts, and seven of the second.
    assert (failing["failures"], failing["enabled"]) == (19, True)
    clock.move(days=3)
    await post.happen()
    *_, last = await post.jobs()
    job = await Shop(post.services).work(last["_id"])
    assert job["state"] == "queued"
    stored = await post.stored(endpoint)
    assert (stored["enabled"], stored["disabled_for"], stored["failures"]) == (False, "failing", 20)
    events = await post.services.database["events"].find(told_to(post)).to_list()
    assert [event["data"]["failures"] for event in events] == [20]
    # What is on its way ends.
    ended = await post.send()
    assert {(each["state"], each["error"]["code"]) for each in ended} == {("failed", "webhook_disabled")}
    deliveries = (
        await post.services.database["webhook_deliveries"].find({"endpoint_id": endpoint["_id"]}).to_list()
    )
    assert {each["state"] for each in deliveries} == {"failed"}
    again = await post.services.webhooks.endpoints.change(
        endpoint["_id"], {"enabled": True}, owner=post.me, expected=None
    )
    assert (again["failures"], again.get("failing_since"), again["disabled_for"]) == (0, None, None)


async def test_an_endpoint_is_disabled_once_although_many_calls_find_it_failing(
    post: Post, rewire: Callable[..., Services]
):
    settings = post.services.settings
    strict = settings.webhooks.model_copy(
        update={"disable_after": 2, "disable_after_time": timedelta(), "concurrency": 50}
    )
    services = rewire(settings=settings.model_copy(update={"webhooks": strict}))
    other = Post(services, post.receiver)
    post.receiver.answers["/"] = answer(500)
    endpoint = await other.endpoint()
    await other.happen(*[other.me] * 20)
    handler = HANDLED["notifications.webhook"]
    for _ in range(2):
        await asyncio.gather(*(run_job(handler, services, job["_id"]) for job in await other.jobs()))
    stored = await other.stored(endpoint)
    assert (stored["failures"] >= 20, stored["disabled_for"]) == (True, "failing")
    assert await services.database["events"].count_documents(told_to(other)) == 1


async def test_what_was_on_its_way_to_a_deleted_endpoint_ends(post: Post, receiver: Receiver):
    endpoint = await post.endpoint()
    await post.happen()
    await post.services.webhooks.endpoints.delete(endpoint["_id"], owner=post.me)
    (job,) = await post.send(endpoint)
    assert (job["state"], job["error"]["code"], receiver.calls) == ("failed", "not_found", [])


async def test_a_job_that_is_run_again_after_its_worker_died_sends_the_same_again(
    post: Post, receiver: Receiver
):
    endpoint = await post.endpoint()
    (event,) = await post.happen()
    (job,) = await post.jobs()
    sending = post.services.webhooks.sending
    claimed = await post.services.runs.claim(job["_id"], kind=job["kind"])
    assert claimed is not None
    command = SendWebhook(endpoint_id=endpoint["_id"], event_id=event["_id"])
    await sending.send(command, claimed)
    await sending.send(command, claimed)
    assert [call.headers["webhook-id"] for call in receiver.calls] == [event["_id"]] * 2
    assert len((await post.delivery(endpoint, job))["attempts"]) == 2


async def test_old_deliveries_are_swept(post: Post, clock: MovableClock):
    endpoint = await post.endpoint()
    await post.happen()
    await post.send()
    clock.move(days=29)
    await post.happen()
    await post.send()
    log = post.services.webhooks.log

    async def kept() -> int:
        await log.sweep()
        return len(await log.page(endpoint["_id"], state=None, before=None, limit=10))

    assert await kept() == 2
    clock.move(days=2)
    assert await kept() == 1
