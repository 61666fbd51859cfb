"""Endpoints: made, edited, and signed for."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from domain.bootstrap import Services
from domain.errors import StaleRevision
from domain.notifications.webhooks.errors import TooManySecrets, TooManyWebhooks, WebhookExists
from domain.values import new_id
from tests.conftest import MovableClock
from tests.receiver import Receiver, answer
from tests.webhooks import Post


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
