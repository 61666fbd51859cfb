"""Pub/sub: the fake and the real one run the same cases; then what only a real Redis can show."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from domain.adapters.redis import RedisLink
from domain.adapters.redis_pubsub import Listener, RedisPubSub, Subscriptions
from domain.ports import PubSub
from ops.servers.valkey import Valkey
from tests.fakes import FakePubSub

BACKLOG = 20


@dataclass
class Station:
    """A pub/sub, how its connection breaks, and how its server goes away."""

    pubsub: PubSub
    break_connection: Callable[[], Awaitable[None]]
    go_away: Callable[[], None]


@pytest.fixture(params=["fake", "redis"])
def station(request: pytest.FixtureRequest) -> Station:
    if request.param == "fake":
        fake = FakePubSub(backlog=BACKLOG)

        async def break_fake() -> None:
            fake.break_connection()

        return Station(fake, break_fake, lambda: setattr(fake, "away", True))
    link: RedisLink = request.getfixturevalue("redis")
    server: Valkey = request.getfixturevalue("valkey")

    async def break_real() -> None:
        assert await link.client.client_kill_filter(_type="pubsub") == 1

    return Station(RedisPubSub(link, backlog=BACKLOG), break_real, server.kill)


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


async def read(listener: AsyncIterator[str], count: int = 1) -> list[str]:
    async with asyncio.timeout(5):
        return [await anext(listener) for _ in range(count)]


async def test_a_listener_gets_its_channels_in_order(station: Station):
    async with station.pubsub.subscribe("a", "b") as listener:
        sent = [("a", "1"), ("c", "not mine"), ("b", "2"), ("a", "3")]
        assert await station.pubsub.publish(sent)
        assert await read(listener, 3) == ["1", "2", "3"]


async def test_nothing_to_publish_is_no_failure(station: Station):
    assert await station.pubsub.publish([])


async def test_what_was_sent_before_entering_is_not_heard(station: Station):
    await station.pubsub.publish([("a", "before")])
    async with station.pubsub.subscribe("a") as listener:
        await station.pubsub.publish([("a", "after")])
        assert await read(listener) == ["after"]


async def test_each_listener_of_a_channel_gets_each_message(station: Station):
    async with station.pubsub.subscribe("a") as one, station.pubsub.subscribe("a", "b") as two:
        await station.pubsub.publish([("a", "1"), ("b", "2")])
        assert await read(one) == ["1"]
        assert await read(two, 2) == ["1", "2"]


async def test_a_listener_stays_when_another_of_its_channel_leaves(station: Station):
    async with station.pubsub.subscribe("a") as stays:
        async with station.pubsub.subscribe("a"):
            pass
        await station.pubsub.publish([("a", "1")])
        assert await read(stays) == ["1"]


async def test_who_comes_back_to_a_channel_hears_it(station: Station):
    for turn in range(20):
        async with station.pubsub.subscribe("a") as listener:
            await station.pubsub.publish([("a", str(turn))])
            assert await read(listener) == [str(turn)]


async def test_a_broken_connection_is_told_once_to_each_listener(station: Station):
    async with station.pubsub.subscribe("a") as one, station.pubsub.subscribe("b") as two:
        await station.break_connection()
        assert await read(one) + await read(two) == ["", ""]
        await station.pubsub.publish([("a", "1"), ("b", "2")])
        assert await read(one) + await read(two) == ["1", "2"]


async def test_a_slow_listener_is_told_to_resync_and_takes_no_more_memory(station: Station):
    async with station.pubsub.subscribe("a") as slow:
        await station.pubsub.publish([("a", str(n)) for n in range(BACKLOG * 2 + 5)] + [("a", "last")])
        await until(lambda: arrived(slow, "last"))
        heard = await read(slow, len(slow._payloads))  # type: ignore[attr-defined]
        assert heard[0] == ""
        assert heard[-1] == "last"
        assert len(heard) <= BACKLOG


async def arrived(listener: AsyncIterator[str], payload: str) -> bool:
    return payload in listener._payloads  # type: ignore[attr-defined]


async def test_publishing_without_redis_is_no_error(station: Station):
    station.go_away()
    assert not await station.pubsub.publish([("a", "1")])


async def listened(link: RedisLink, channel: str) -> int:
    """How many connections listen to the channel."""
    [(_, count)] = await link.client.pubsub_numsub(channel)
    return int(count)


async def test_a_process_listens_over_one_connection(redis: RedisLink):
    pubsub = RedisPubSub(redis)
    async with AsyncExitStack() as listeners:
        for n in range(40):
            await listeners.enter_async_context(pubsub.subscribe("shared", f"own:{n}"))
        assert await listened(redis, "shared") == 1
        assert len(await redis.client.client_list(_type="pubsub")) == 1


async def test_a_channel_that_nobody_wants_any_more_is_let_go(redis: RedisLink):
    pubsub = RedisPubSub(redis)
    async with pubsub.subscribe("kept"):
        async with pubsub.subscribe("kept", "dropped"):
            assert await listened(redis, "dropped") == 1
        await until(lambda: gone(redis, "dropped"))
        assert await listened(redis, "kept") == 1


async def gone(link: RedisLink, channel: str) -> bool:
    return await listened(link, channel) == 0


async def test_listeners_survive_a_kill_of_redis(valkey: Valkey, redis: RedisLink):
    pubsub = RedisPubSub(redis)
    async with pubsub.subscribe("a") as one, pubsub.subscribe("a", "b") as two:
        valkey.kill()
        valkey.start()
        assert await read(one) + await read(two) == ["", ""]
        await until(lambda: pubsub.publish([("b", "1"), ("a", "2")]))
        assert await read(two, 2) == ["1", "2"]
        assert await read(one) == ["2"]


async def test_who_enters_while_redis_is_away_resyncs_when_it_is_back(valkey: Valkey, redis: RedisLink):
    pubsub = RedisPubSub(redis)
    valkey.kill()
    async with pubsub.subscribe("a") as listener:
        valkey.start()
        assert await read(listener) == [""]
        await until(lambda: pubsub.publish([("a", "1")]))
        assert await read(listener) == ["1"]


async def test_a_silent_connection_is_replaced(redis: RedisLink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("domain.adapters.redis_pubsub.IDLE", 0.02)
    pubsub = RedisPubSub(redis)
    async with pubsub.subscribe("a") as listener:
        await pubsub.publish([("a", "1")])
        assert await read(listener) == ["1"]
        await redis.client.client_pause(400)
        assert await read(listener) == [""]


async def test_bytes_that_are_no_text_end_nothing(redis: RedisLink):
    pubsub = RedisPubSub(redis)
    async with pubsub.subscribe("a") as listener:
        await redis.client.publish("a", b"\xff")
        await pubsub.publish([("a", "1")])
        assert await read(listener, 2) == ["\N{REPLACEMENT CHARACTER}", "1"]


def sent(subscriptions: Subscriptions) -> list[tuple[str, ...]]:
    """What the connection would have sent since the last look."""
    outbox = subscriptions.outbox
    assert outbox is not None
    return [outbox.get_nowait() for _ in range(outbox.qsize())]


def test_a_listener_is_live_when_its_last_request_is_confirmed():
    subscriptions, first, again = Subscriptions(), Listener("a", backlog=9), Listener("a", backlog=9)
    subscriptions.connected()
    subscriptions.join(first)
    subscriptions.leave(first)
    subscriptions.join(again)
    assert sent(subscriptions) == [("SUBSCRIBE", "a"), ("UNSUBSCRIBE", "a"), ("SUBSCRIBE", "a")]
    subscriptions.received(["subscribe", "a", 1])
    assert not again.live.is_set()
    subscriptions.received(["unsubscribe", "a", 0])
    subscriptions.received(["subscribe", "a", 1])
    assert again.live.is_set()


async def test_a_resync_is_told_only_once_the_new_connection_hears_all_channels():
    subscriptions, listener = Subscriptions(), Listener("ab", backlog=9)
    subscriptions.join(listener)
    subscriptions.connected()
    for channel in "ab":
        subscriptions.received(["subscribe", channel, 1])
    subscriptions.disconnected()
    subscriptions.connected()
    subscriptions.received(["subscribe", "a", 1])
    subscriptions.received(["message", "a", "early"])
    subscriptions.received(["subscribe", "b", 2])
    subscriptions.received(["message", "b", "late"])
    assert await read(listener, 2) == ["", "late"]


def test_a_channel_of_two_is_let_go_by_the_last():
    subscriptions, one, two = Subscriptions(), Listener("ab", backlog=9), Listener("b", backlog=9)
    subscriptions.connected()
    subscriptions.join(one)
    subscriptions.join(two)
    assert [set(command) for command in sent(subscriptions)] == [{"SUBSCRIBE", "a", "b"}]
    subscriptions.leave(one)
    subscriptions.leave(two)
    assert sent(subscriptions) == [("UNSUBSCRIBE", "a"), ("UNSUBSCRIBE", "b")]
