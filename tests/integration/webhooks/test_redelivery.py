"""Events sent again: single deliveries, and ranges."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from domain.bootstrap import Services
from domain.changes import Doc
from domain.events.rules import SHOP
from domain.jobs.outcomes import claimed
from domain.notifications.webhooks import redelivery
from domain.notifications.webhooks.commands import RedeliverWebhooks
from tests.conftest import MovableClock
from tests.receiver import Receiver, answer
from tests.webhooks import Post, in_the_hour_before


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
