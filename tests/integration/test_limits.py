"""Limits: what counts in one process, and what counts in Redis, run the same cases."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.adapters.local_limits import LocalLimits
from domain.adapters.redis import RedisLink, close, connect
from domain.adapters.redis_limits import RedisLimits
from domain.ports import Delays, RateLimiter
from domain.settings import Redis
from domain.values import new_id
from ops.stack import Stack
from tests.conftest import environment_on

#: Waits that a test can sit out.
QUICK = Delays(free=2, first=0.2, longest=0.3, forget=60)
SLOW = Delays(free=2, first=100, longest=150, forget=3600)


@pytest.fixture
async def redis(stack: Stack) -> AsyncIterator[RedisLink]:
    link = connect(Redis(url=environment_on(stack)["STOCKYARD_REDIS_URL"]))
    yield link
    await close(link)


@pytest.fixture(params=["local", "redis"])
def limits(request: pytest.FixtureRequest) -> RateLimiter:
    if request.param == "local":
        return LocalLimits()
    return RedisLimits(request.getfixturevalue("redis"), prefix=new_id())


async def test_a_window_allows_its_limit_and_says_what_is_left(limits: RateLimiter):
    spent = [await limits.spend("a", limit=2, seconds=60) for _ in range(4)]
    assert [(each.allowed, each.remaining) for each in spent] == [
        (True, 1),
        (True, 0),
        (False, 0),
        (False, 0),
    ]
    assert all(58 < each.reset <= 60 for each in spent)
    assert (await limits.spend("b", limit=2, seconds=60)).allowed


async def test_a_window_ends(limits: RateLimiter):
    for allowed in (True, False):
        assert (await limits.spend("a", limit=1, seconds=1)).allowed is allowed
    await asyncio.sleep(1.05)
    assert (await limits.spend("a", limit=1, seconds=1)).allowed


async def test_a_hundred_requests_at_once_are_each_counted(limits: RateLimiter):
    spent = await asyncio.gather(*(limits.spend("a", limit=40, seconds=60) for _ in range(100)))
    assert sum(each.allowed for each in spent) == 40


async def test_tries_past_the_free_ones_have_to_wait(limits: RateLimiter):
    waits = [await limits.attempt("a", SLOW) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(99 < wait <= 100 for wait in waits[3:])
    assert 99 < await limits.delay("a") <= 100
    assert await limits.delay("b") == 0
    assert await limits.attempt("b", SLOW) == 0


async def test_waits_grow_and_end(limits: RateLimiter):
    for _ in range(3):
        assert await limits.attempt("a", QUICK) == 0
    await asyncio.sleep(0.25)
    assert await limits.attempt("a", QUICK) == 0
    assert 0.2 < await limits.delay("a") <= 0.3


async def test_tries_at_once_are_not_more_than_tries_in_a_row(limits: RateLimiter):
    waits = await asyncio.gather(*(limits.attempt("a", SLOW) for _ in range(50)))
    assert sum(wait == 0 for wait in waits) == 3


async def test_a_try_that_was_none_is_given_back_with_its_wait(limits: RateLimiter):
    for _ in range(20):
        assert await limits.attempt("a", SLOW) == 0
        await limits.give_back("a")
    await limits.give_back("a")
    assert [await limits.attempt("a", SLOW) for _ in range(3)] == [0, 0, 0]
    assert await limits.delay("a") > 99
    await limits.give_back("a")
    assert await limits.attempt("a", SLOW) == 0
    assert await limits.attempt("a", SLOW) > 99
    await limits.give_back("never tried")


async def test_what_is_forgiven_is_forgotten(limits: RateLimiter):
    for _ in range(4):
        await limits.attempt("a", SLOW)
    await limits.forgive("a")
    assert [await limits.attempt("a", SLOW) for _ in range(3)] == [0, 0, 0]


async def test_tries_are_forgotten_after_a_while():
    now = 0.0
    limits = LocalLimits(clock=lambda: now)
    for _ in range(3):
        await limits.attempt("a", SLOW)
    assert await limits.delay("a") == 100
    now = 100 + 3600
    assert [await limits.attempt("a", SLOW) for _ in range(3)] == [0, 0, 0]


async def test_memory_of_one_process_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("domain.adapters.local_limits.MOST", 3)
    limits = LocalLimits()
    for n in range(10):
        await limits.spend(f"{n}", limit=1, seconds=60)
        await limits.attempt(f"{n}", SLOW)
    assert (len(limits._windows), len(limits._tries)) == (3, 3)


async def test_processes_count_together(redis: RedisLink):
    prefix = new_id()
    one, other = (RedisLimits(redis, prefix=prefix) for _ in range(2))
    spent = [await each.spend("a", limit=3, seconds=60) for each in (one, other) * 2]
    assert [each.allowed for each in spent] == [True, True, True, False]
    assert [await each.attempt("a", SLOW) > 0 for each in (one, other) * 2] == [False, False, False, True]


async def test_without_redis_each_process_counts_for_itself():
    link = connect(Redis(url="redis://127.0.0.1:1/0"))
    limits = RedisLimits(link, prefix="away")
    assert [(await limits.spend("a", limit=1, seconds=60)).allowed for _ in range(2)] == [True, False]
    assert [await limits.attempt("a", SLOW) > 0 for _ in range(4)] == [False, False, False, True]
    assert await limits.delay("a") > 99
    await limits.forgive("a")
    assert await limits.delay("a") == 0
    await close(link)
