"""Which endpoints an event goes to, and who knows of an endpoint when."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.events.rules import SHOP, envelope
from domain.values import new_id
from tests.factories import eventually
from tests.receiver import Receiver
from tests.webhooks import Post


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
