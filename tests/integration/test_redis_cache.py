"""The cache and the leadership: the fakes and the real ones run the same cases."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from domain.adapters.redis import RedisAway, RedisCache, RedisLink
from domain.adapters.redis_leadership import RedisLeadership
from domain.ports import Cache, Leadership
from ops.servers.valkey import Valkey
from tests.fakes import FakeCache, FakeLeadership


@dataclass
class Shelf:
    """A cache, how it goes away, and the seconds that a key still has."""

    cache: Cache
    go_away: Callable[[], None]
    seconds_left: Callable[[str], Awaitable[Any]]


@pytest.fixture(params=["fake", "redis"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    if request.param == "fake":
        fake = FakeCache()

        async def left(key: str) -> float:
            return fake._values[key][1] - fake.clock

        return Shelf(fake, lambda: setattr(fake, "away", True), left)
    link: RedisLink = request.getfixturevalue("redis")
    server: Valkey = request.getfixturevalue("valkey")
    return Shelf(RedisCache(link), server.kill, link.client.ttl)


async def test_what_was_put_is_there(shelf: Shelf):
    await shelf.cache.put({"a": "1", "b": "zwölf"}, seconds=60)
    assert [await shelf.cache.get(key) for key in ("a", "b", "c")] == ["1", "zwölf", None]


async def test_what_was_put_has_an_end(shelf: Shelf):
    await shelf.cache.put({"a": "1"}, seconds=60)
    assert 58 <= await shelf.seconds_left("a") <= 60


async def test_a_later_value_replaces_the_earlier(shelf: Shelf):
    await shelf.cache.put({"a": "1"}, seconds=60)
    await shelf.cache.put({"a": "2"}, seconds=60)
    assert await shelf.cache.get("a") == "2"


async def test_what_was_dropped_is_gone(shelf: Shelf):
    await shelf.cache.put({"a": "1", "b": "2"}, seconds=60)
    await shelf.cache.drop(["a", "never there"])
    assert [await shelf.cache.get(key) for key in ("a", "b")] == [None, "2"]


async def test_nothing_is_put_and_dropped(shelf: Shelf):
    await shelf.cache.put({}, seconds=60)
    await shelf.cache.drop([])
    await shelf.cache.ping()


async def test_only_ping_tells_that_the_cache_is_away(shelf: Shelf):
    shelf.go_away()
    await shelf.cache.put({"a": "1"}, seconds=60)
    await shelf.cache.drop(["a"])
    assert await shelf.cache.get("a") is None
    with pytest.raises((ConnectionError, RedisAway)):
        await shelf.cache.ping()


async def test_the_cache_works_again_once_redis_is_back(valkey: Valkey, redis: RedisLink):
    cache = RedisCache(redis)
    await cache.put({"a": "1"}, seconds=60)
    valkey.kill()
    assert await cache.get("a") is None
    valkey.start()
    await cache.ping()
    await cache.put({"a": "2"}, seconds=60)
    assert await cache.get("a") == "2"


async def test_a_restart_that_nobody_noticed_is_no_failure(valkey: Valkey, redis: RedisLink):
    cache = RedisCache(redis)
    await cache.put({"a": "1"}, seconds=60)
    valkey.kill()
    valkey.start()
    await cache.put({"a": "2"}, seconds=60)
    assert await cache.get("a") == "2"


async def test_many_calls_at_once_share_the_pool(redis: RedisLink):
    cache = RedisCache(redis)
    await cache.put({str(n): str(n) for n in range(300)}, seconds=60)
    assert await asyncio.gather(*(cache.get(str(n)) for n in range(300))) == [str(n) for n in range(300)]
    assert len(await redis.client.client_list()) <= 32


@dataclass
class Contest:
    """Two candidates for one seat, how it goes away, and how a leader falls silent."""

    one: Leadership
    two: Leadership
    go_away: Callable[[], None]
    fall_silent: Callable[[], Awaitable[object]]


@pytest.fixture(params=["fake", "redis"])
def contest(request: pytest.FixtureRequest) -> Contest:
    if request.param == "fake":
        return fake_contest()
    link: RedisLink = request.getfixturevalue("redis")
    server: Valkey = request.getfixturevalue("valkey")
    one, two = (RedisLeadership(link, "t", ttl=timedelta(milliseconds=200)) for _ in range(2))

    async def expired() -> None:
        async with asyncio.timeout(5):
            while await link.client.exists("leader:t"):  # noqa: ASYNC110 - an expiry tells nobody
                await asyncio.sleep(0.02)

    return Contest(one, two, server.kill, expired)


def fake_contest() -> Contest:
    seat: list[FakeLeadership] = []
    one, two = FakeLeadership(seat), FakeLeadership(seat)

    def away() -> None:
        one.away = two.away = True

    async def silent() -> None:
        seat.clear()

    return Contest(one, two, away, silent)


async def test_one_of_two_leads_and_goes_on_leading(contest: Contest):
    turns = [(await contest.one.lead(), await contest.two.lead()) for _ in range(3)]
    assert turns == [(True, False)] * 3


async def test_who_resigns_is_succeeded_at_once(contest: Contest):
    await contest.one.lead()
    await contest.one.resign()
    assert await contest.two.lead()
    assert not await contest.one.lead()


async def test_nobody_resigns_for_another(contest: Contest):
    await contest.one.lead()
    await contest.two.resign()
    assert not await contest.two.lead()


async def test_a_silent_leader_is_succeeded(contest: Contest):
    await contest.one.lead()
    await contest.fall_silent()
    assert await contest.two.lead()


async def test_without_redis_each_leads(contest: Contest):
    contest.go_away()
    assert await contest.one.lead()
    assert await contest.two.lead()
    await contest.one.resign()
