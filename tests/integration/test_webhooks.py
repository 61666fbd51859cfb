"""Webhooks over the real store and a real receiver; jobs run here, as a worker would run them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from domain.bootstrap import Services, open_services
from domain.changes import Doc
from domain.errors import StaleRevision
from domain.events.rules import SHOP, envelope
from domain.jobs.outcomes import claimed
from domain.notifications.webhooks import places, redelivery
from domain.notifications.webhooks.commands import RedeliverWebhooks, SendWebhook
from domain.notifications.webhooks.errors import TooManySecrets, TooManyWebhooks, WebhookExists
from domain.notifications.webhooks.places import PART
from domain.notifications.webhooks.rules import ATTEMPTS, PAUSES
from domain.values import new_id
from ops.environment import settings_of
from ops.stack import Stack
from tests.conftest import MovableClock, environment_on
from tests.factories import Shop, eventually
from tests.receiver import Call, Receiver, answer, receiving
from tests.webhooks import LOCAL, Post, in_the_hour_before
from workers.handles import run_job
from workers.kinds import HANDLED


@pytest.fixture(scope="module")
def clock() -> MovableClock:
    """Moved ahead by the tests, one after the other."""
    return MovableClock()


@pytest.fixture(scope="module")
async def services(stack: Stack, clock: MovableClock) -> AsyncIterator[Services]:
    async with open_services(settings_of(environment_on(stack) | LOCAL), clock=clock) as services:
        yield services


@pytest.fixture(scope="module")
async def everybody() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(everybody: Receiver) -> Receiver:
    everybody.calls.clear()
    everybody.answers.clear()
    return everybody


@pytest.fixture
async def post(services: Services, receiver: Receiver) -> AsyncIterator[Post]:
    yield Post(services, receiver)
    for endpoint in await services.webhooks.endpoints.page(SHOP, after=None, limit=100):
        await services.webhooks.endpoints.delete(endpoint["_id"], owner=SHOP)


# -- to whom -----------------------------------------------------------------------------------------


async def test_an_event_is_sent_as_it_is_stored_signed_and_once(post: Post, receiver: Receiver):
    endpoint = await post.endpoint()
    (event,) = await post.happen()
    (job,) = await post.send()
    assert (job["state"], job["result"]["status"], job["subject"]) == ("succeeded", 200, event["subject"])
    (call,) = receiver.calls
    assert call.verified(endpoint["secret"]) == envelope(event)
    assert call.headers["webhook-id"] == event["_id"]
    assert call.headers["content-type"] == "application/cloudevents+json"
    delivery = await post.delivery(endpoint, job)
    assert (delivery["state"], delivery["tries"], delivery["event_id"]) == ("delivered", 1, event["_id"])
    await post.services.events._telling._router([event])  # type: ignore[misc]
    assert len(await post.jobs()) == 1


async def test_an_account_has_its_own_events_and_the_shop_everybodys(post: Post):
    mine, bob = await post.endpoint(path="/me"), await post.endpoint(new_id(), "/bob")
    shop = await post.endpoint(SHOP, "/shop")
    await post.happen(post.me, post.me, "cy")
    assert [len(await post.jobs(each)) for each in (mine, bob, shop)] == [2, 0, 3]


async def test_only_what_an_endpoint_wants_is_sent_to_it(post: Post):
    holds = await post.endpoint(path="/1", events=["hold.*"])
    one = await post.endpoint(path="/2", events=["hold.released", "stock.low"])
    others = await post.endpoint(path="/3", events=["order.*"])
    disabled = await post.endpoint(path="/4", enabled=False)
    await post.happen()
    assert [len(await post.jobs(each)) for each in (holds, one, others, disabled)] == [1, 1, 0, 0]


async def test_of_a_delivery_that_is_dead_nobody_is_told_the_way_it_died_of(post: Post):
    await post.endpoint(SHOP)

    async def told(kind: str) -> int:
        event = {
            "_id": new_id(),
            "account_id": SHOP,
            "type": "job.dead",
            "subject": "j",
            "data": {"kind": kind},
        }
        return len(await post.services.webhooks.way.deliveries([event]))

    assert [await told(kind) for kind in ("notifications.webhook", "notifications.mail")] == [0, 1]


async def test_without_endpoints_no_event_asks_the_store(post: Post, monkeypatch: pytest.MonkeyPatch):
    way = post.services.webhooks.way
    assert not await way.deliveries([])
    monkeypatch.setattr(way._known, "_read", None)
    monkeypatch.setattr(way._known, "_good_until", float("inf"))
    assert not await way.deliveries([{"account_id": post.me, "type": "order.paid"}])


async def test_other_processes_know_a_new_endpoint_at_once_and_forget_a_deleted_one(
    post: Post, rewire: Callable[..., Services]
):
    settings = post.services.settings
    patient = settings.webhooks.model_copy(update={"refresh": timedelta(minutes=5)})
    other = rewire(settings=settings.model_copy(update={"webhooks": patient}))
    async with other.webhooks.listening():
        event = {"_id": "1" * 36, "account_id": post.me, "type": "order.paid", "subject": "1"}

        async def known() -> int:
            return len(await other.webhooks.way.deliveries([event]))

        assert await known() == 0
        endpoint = await post.endpoint()
        await eventually(lambda: _is(known, 1))
        await post.services.webhooks.endpoints.change(
            endpoint["_id"], {"enabled": False}, owner=post.me, expected=None
        )
        await eventually(lambda: _is(known, 0))
        await post.services.webhooks.endpoints.change(
            endpoint["_id"], {"enabled": True}, owner=post.me, expected=None
        )
        await eventually(lambda: _is(known, 1))
        await post.services.webhooks.endpoints.delete(endpoint["_id"], owner=post.me)
        await eventually(lambda: _is(known, 0))


def told_to(post: Post) -> Doc:
    return {"type": "webhook.disabled", "account_id": post.me}


async def _is(ask: Callable[[], Any], count: int) -> bool:
    return bool(await ask() == count)


async def test_a_process_that_hears_nothing_knows_an_endpoint_after_the_time_that_is_said(
    post: Post, rewire: Callable[..., Services]
):
    deaf = rewire()
    event = {"_id": "1" * 36, "account_id": post.me, "type": "order.paid", "subject": "1"}
    assert not await deaf.webhooks.way.deliveries([event])
    await post.endpoint()
    await asyncio.sleep(post.services.settings.webhooks.refresh.total_seconds())
    assert len(await deaf.webhooks.way.deliveries([event])) == 1


# -- endpoints ---------------------------------------------------------------------------------------


async def test_of_many_at_once_no_more_endpoints_are_made_than_there_may_be(
    post: Post, rewire: Callable[..., Services]
):
    settings = post.services.settings
    few = settings.model_copy(update={"webhooks": settings.webhooks.model_copy(update={"max_endpoints": 3})})
    services = [rewire(settings=few) for _ in range(2)]
    made = await asyncio.gather(
        *(Post(services[n % 2], post.receiver, post.me).endpoint(path=f"/{n}") for n in range(6)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, dict) for each in made) == 3
    assert sum(isinstance(each, TooManyWebhooks) for each in made) == 3
    await Post(services[0], post.receiver).endpoint()


async def test_a_url_is_an_endpoint_once(post: Post):
    made = await asyncio.gather(*(post.endpoint() for _ in range(4)), return_exceptions=True)
    (endpoint,) = [each for each in made if isinstance(each, dict)]
    refused = [each for each in made if isinstance(each, WebhookExists)]
    assert len(refused) == 3
    assert refused[0].detail == {"endpoint": endpoint["_id"]}
    await post.endpoint(new_id())


async def test_of_two_edits_at_once_one_is_stale(post: Post):
    endpoint = await post.endpoint()
    seen = frozenset([endpoint["revision"]])
    answers = await asyncio.gather(
        *(
            post.services.webhooks.endpoints.change(
                endpoint["_id"], {"description": text}, owner=post.me, expected=seen
            )
            for text in ("one", "two")
        ),
        return_exceptions=True,
    )
    assert [isinstance(each, StaleRevision) for each in answers].count(True) == 1
    (changed,) = [each for each in answers if isinstance(each, dict)]
    assert (await post.stored(endpoint))["description"] == changed["description"]


async def test_edits_of_whatever_is_there_are_all_made(post: Post):
    endpoint, endpoints = await post.endpoint(), post.services.webhooks.endpoints
    edits: list[dict[str, Any]] = [{"description": "x"}, {"events": ["order.*"]}, {"enabled": False}]
    await asyncio.gather(
        *(endpoints.change(endpoint["_id"], edit, owner=post.me, expected=None) for edit in edits)
    )
    assert (await post.stored(endpoint)).items() >= {
        "description": "x", "events": ["order.*"], "enabled": False, "disabled_for": "by_owner",
    }.items()  # fmt: skip


async def test_another_url_begins_without_the_failures_of_the_one_before(post: Post, receiver: Receiver):
    receiver.answers["/"] = answer(500)
    endpoint, endpoints = await post.endpoint(), post.services.webhooks.endpoints
    await post.happen()
    await post.send()
    for field, value, failures in (("description", "x", 1), ("url", receiver.url("/new"), 0)):
        await endpoints.change(endpoint["_id"], {field: value}, owner=post.me, expected=None)
        stored = await post.stored(endpoint)
        assert (stored["failures"], stored.get("failing_since") is not None) == (failures, failures > 0)


async def test_secrets_are_encrypted_in_the_store_and_sign_all_the_same(
    post: Post, receiver: Receiver, rewire: Callable[..., Services]
):
    settings = post.services.settings
    key = SecretStr(Fernet.generate_key().decode())
    keyed = settings.model_copy(
        update={"webhooks": settings.webhooks.model_copy(update={"secret_keys": [key]})}
    )
    other = Post(rewire(settings=keyed), receiver, post.me)
    endpoint = await other.endpoint()
    rotated = await other.services.webhooks.endpoints.rotate(endpoint["_id"], owner=post.me, overlap=None)
    assert "whsec_" not in str(await post.stored(endpoint))
    await other.happen()
    # One that does not have the key waits for it.
    (job,) = await post.send()
    assert (job["state"], job["attempts"], receiver.calls) == ("queued", 0, [])
    (job,) = await other.send()
    assert job["state"] == "succeeded"
    for made in (endpoint, rotated):
        assert receiver.calls[-1].verified(made["secret"])


async def test_a_secret_that_others_have_seen_is_replaced_at_once_with_all_before_it(
    post: Post, receiver: Receiver
):
    endpoint, endpoints = await post.endpoint(), post.services.webhooks.endpoints
    for _ in range(3):
        await endpoints.rotate(endpoint["_id"], owner=post.me, overlap=None)
    made = await endpoints.rotate(endpoint["_id"], owner=post.me, overlap=timedelta())
    await post.happen()
    await post.send()
    assert receiver.calls[-1].verified(made["secret"])
    assert len(receiver.calls[-1].headers["webhook-signature"].split(" ")) == 1


async def test_while_a_secret_is_replaced_both_sign(post: Post, receiver: Receiver, clock: MovableClock):
    endpoint = await post.endpoint()
    endpoints = post.services.webhooks.endpoints
    rotated = await endpoints.rotate(endpoint["_id"], owner=post.me, overlap=timedelta(hours=1))
    assert rotated["secret"] != endpoint["secret"]
    await post.happen()
    await post.send()
    for secret in (endpoint["secret"], rotated["secret"]):
        assert receiver.calls[-1].verified(secret)
    clock.move(hours=1)
    await post.happen()
    await post.send()
    signatures = receiver.calls[-1].headers["webhook-signature"].split(" ")
    assert len(signatures) == 1
    for _ in range(3):
        await endpoints.rotate(endpoint["_id"], owner=post.me, overlap=None)
    with pytest.raises(TooManySecrets):
        await endpoints.rotate(endpoint["_id"], owner=post.me, overlap=None)


# -- attempts ----------------------------------------------------------------------------------------


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


# -- one slow endpoint, and the others ---------------------------------------------------------------


async def test_an_endpoint_that_hangs_delays_no_other(post: Post, receiver: Receiver):
    release = asyncio.Event()

    async def hang(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(200)(call, writer)

    receiver.answers["/hangs"] = hang
    hanging = await post.endpoint(path="/hangs")
    bob = new_id()
    quick = await post.endpoint(bob, "/quick")
    for _ in range(2):
        await post.happen(*[post.me] * 50)
    await post.happen(*[bob] * 40)
    waiting = [job["_id"] for job in [*await post.jobs(hanging), *await post.jobs(quick)]]
    assert len(waiting) == 140
    threads, handler = asyncio.Semaphore(64), HANDLED["notifications.webhook"]

    async def thread(job_id: str) -> None:
        async with threads:
            await run_job(handler, post.services, job_id)

    # Those that hang are before all others in the queue of a worker with 64 threads.
    runs = [asyncio.create_task(thread(job_id)) for job_id in waiting]
    limit = post.services.settings.webhooks.concurrency // PART
    await eventually(lambda: sum(run.done() for run in runs) == 140 - limit, within=60)
    assert receiver.busy["/hangs"] == receiver.busiest["/hangs"] == limit
    assert len(receiver.at("/quick")) >= limit
    # What found no place at once finds one as it comes again, while the others still hang.
    while again := [job for job in await post.jobs(quick) if job["state"] == "queued"]:
        await asyncio.gather(*(thread(job["_id"]) for job in again))
    assert len(receiver.at("/quick")) == 40
    assert (len(receiver.at("/hangs")), release.is_set()) == (limit, False)
    release.set()
    await asyncio.gather(*runs)
    jobs = await post.jobs(hanging)
    assert [job["state"] for job in jobs].count("succeeded") == limit
    back = [job for job in jobs if job["state"] == "queued"]
    assert len(back) == 100 - limit
    # They wait for a place, which is no attempt.
    assert {job["attempts"] for job in back} == {0}
    assert (await post.stored(hanging))["failures"] == 0
    assert len({job["not_before"] for job in back}) > 20


async def test_an_endpoint_that_was_fast_and_hangs_now_is_slow_before_the_call_is_over(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    endpoint, release = await post.endpoint(), asyncio.Event()
    await post.happen()
    assert [job["state"] for job in await post.send()] == ["succeeded"]
    monkeypatch.setattr(places, "SLOW", 0.2)

    async def hang(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(200)(call, writer)

    receiver.answers["/"] = hang
    await post.happen(*[post.me] * 13)
    first, *others = [job["_id"] for job in await post.jobs() if job["state"] == "queued"]
    handler = HANDLED["notifications.webhook"]
    calling = asyncio.create_task(run_job(handler, post.services, first))
    await eventually(lambda: receiver.busy["/"] == 1)
    began = monotonic()
    await eventually(lambda: monotonic() > began + 0.2)
    runs = [asyncio.create_task(run_job(handler, post.services, each)) for each in others]
    limit = post.services.settings.webhooks.concurrency // PART
    await eventually(lambda: sum(run.done() for run in runs) == 13 - limit)
    assert receiver.busiest["/"] == limit
    release.set()
    await asyncio.gather(calling, *runs)
    assert [job["state"] for job in await post.jobs(endpoint)].count("succeeded") == 1 + limit


# -- again -------------------------------------------------------------------------------------------


async def states(post: Post, endpoint: Doc) -> list[str]:
    return [job["state"] for job in await post.jobs(endpoint)]


async def test_one_delivery_is_sent_again_under_a_job_of_its_own(post: Post, receiver: Receiver):
    endpoint = await post.endpoint()
    (event,) = await post.happen()
    (first,) = await post.send()
    job = await post.redeliver(endpoint, deliveries=(first["_id"], "0" * 36))
    assert job["result"] == {"sent": 1, "on_their_way": 0, "delivered": 0, "unknown": 1}
    assert await states(post, endpoint) == ["succeeded", "queued"]
    await post.send()
    assert [call.headers["webhook-id"] for call in receiver.calls] == [event["_id"]] * 2


async def test_a_range_is_sent_again_without_what_was_delivered_or_is_on_its_way(
    post: Post, receiver: Receiver
):
    endpoint = await post.endpoint()
    await post.happen()
    await post.send()
    receiver.answers["/"] = answer(410)
    await post.happen()
    await post.send()
    receiver.answers["/"] = answer(200)
    # While it is disabled, and after.
    await post.happen(post.me, "bob")
    await post.services.webhooks.endpoints.change(
        endpoint["_id"], {"enabled": True}, owner=post.me, expected=None
    )
    await post.happen()
    assert await states(post, endpoint) == ["succeeded", "failed", "queued"]
    job = await post.redeliver(endpoint, **in_the_hour_before(post.services))
    # `webhook.disabled` is one of the account's events, too.
    assert job["result"] == {"sent": 3, "on_their_way": 1, "delivered": 1, "unknown": 0}
    await post.send()
    assert await states(post, endpoint) == ["succeeded", "failed", *["succeeded"] * 4]
    job = await post.redeliver(endpoint, **in_the_hour_before(post.services))
    assert job["result"] == {"sent": 0, "on_their_way": 0, "delivered": 5, "unknown": 0}
    job = await post.redeliver(endpoint, what="all", **in_the_hour_before(post.services))
    assert job["result"]["sent"] == 5


async def test_redeliveries_at_once_and_run_twice_send_each_event_once(
    post: Post, rewire: Callable[..., Services]
):
    endpoint = await post.endpoint()
    await post.happen(*[post.me] * 8)
    await post.send()
    others = [post, *(Post(rewire(), post.receiver, post.me) for _ in range(2))]
    wanted = {"what": "all", **in_the_hour_before(post.services)}
    jobs = await asyncio.gather(*(each.redeliver(endpoint, **wanted) for each in others))
    assert len(await post.jobs(endpoint)) == 16
    assert await states(post, endpoint) == ["succeeded"] * 8 + ["queued"] * 8
    await post.send()
    # A worker that died before it could say so is followed by another.
    command = RedeliverWebhooks.model_validate(jobs[0]["payload"])
    result = await post.services.webhooks.redelivery.run(command, claimed(jobs[0]))
    assert result["sent"] == 0
    assert len(await post.jobs(endpoint)) == 16


async def test_the_shops_range_is_over_all_accounts(post: Post, clock: MovableClock):
    clock.move(hours=2)
    endpoint = await post.endpoint(SHOP, enabled=False)
    await post.happen(post.me, "bob", SHOP)
    await post.services.webhooks.endpoints.change(
        endpoint["_id"], {"enabled": True}, owner=SHOP, expected=None
    )
    job = await post.redeliver(endpoint, **in_the_hour_before(post.services))
    assert job["result"]["sent"] == 3


async def test_a_range_has_only_what_happened_in_it(post: Post, clock: MovableClock):
    endpoint = await post.endpoint(enabled=False)
    for _ in range(5):
        await post.happen()
        clock.move(minutes=10)
    await post.services.webhooks.endpoints.change(
        endpoint["_id"], {"enabled": True}, owner=post.me, expected=None
    )
    now = post.services.clock()
    job = await post.redeliver(endpoint, since=now - timedelta(minutes=35), until=now - timedelta(minutes=15))
    assert job["result"]["sent"] == 2


@pytest.mark.parametrize("owner", [None, SHOP])
async def test_a_range_may_have_any_bounds(
    post: Post, clock: MovableClock, owner: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redelivery, "OLDEST", timedelta(hours=1))
    clock.move(days=40)
    endpoint = await post.endpoint(owner, enabled=False)
    await post.happen()
    await post.services.webhooks.endpoints.change(
        endpoint["_id"], {"enabled": True}, owner=None, expected=None
    )
    east, west = timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))
    always = {"since": datetime.min.replace(tzinfo=east), "until": datetime.max.replace(tzinfo=west)}
    clock.move(seconds=1)
    job = await post.redeliver(endpoint, **always)
    assert (job["state"], job["result"]["sent"]) == ("succeeded", 1)
    for since in always.values():
        job = await post.redeliver(endpoint, since=since, until=since)
        assert job["result"] == {"sent": 0, "on_their_way": 0, "delivered": 0, "unknown": 0}


async def test_nothing_is_sent_again_to_a_disabled_endpoint(post: Post):
    endpoint = await post.endpoint(enabled=False)
    job = await post.redeliver(endpoint, **in_the_hour_before(post.services))
    assert (job["state"], job["error"]["code"]) == ("failed", "webhook_disabled")


# -- the log -----------------------------------------------------------------------------------------


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
