"""Locks: the fake and the real ones run the same cases; then what only a real Redis can show."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest

from domain.adapters.redis import RedisLink
from domain.adapters.redis_locks import MISSES, RedisLocks
from domain.ports import Lock, Locks
from ops.servers.valkey import Valkey
from tests.fakes import FakeLocks

A, B, C = "lock:sku:A", "lock:sku:B", "lock:sku:C"
TTL = timedelta(milliseconds=300)


@dataclass
class Party:
    """Locks that wait 2 s, others on the same keys that wait 50 ms, and how a lock's time ends."""

    locks: Locks
    hasty: Locks
    lapse: Callable[..., Awaitable[object]]
    go_away: Callable[[], None]


@pytest.fixture(params=["fake", "redis"])
def party(request: pytest.FixtureRequest) -> Party:
    if request.param == "fake":
        patient = FakeLocks()
        hasty = FakeLocks(wait=0.05, beside=patient)
        return Party(patient, hasty, patient.lapse, lambda: setattr(patient, "away", True))
    link: RedisLink = request.getfixturevalue("redis")
    server: Valkey = request.getfixturevalue("valkey")
    return Party(real(link), real_hasty(link), link.client.delete, server.kill)


def real(link: RedisLink) -> RedisLocks:
    return RedisLocks(link, ttl=TTL, wait=timedelta(seconds=2))


def real_hasty(link: RedisLink) -> RedisLocks:
    return RedisLocks(link, ttl=TTL, wait=timedelta(milliseconds=50))


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


async def holds(locks: Locks, *keys: str) -> bool:
    async with locks.hold(keys) as lock:
        return lock.held


def missed(reason: str) -> float:
    return float(MISSES.labels(reason)._value.get())


async def test_keys_are_sorted_and_taken_once(party: Party):
    async with party.locks.hold([C, A, B, A]) as lock:
        assert lock == Lock((A, B, C), held=True)


async def test_no_keys_are_held_at_once(party: Party):
    assert await holds(party.locks)


async def test_a_second_holder_waits_for_the_first(party: Party):
    async with party.locks.hold([A]):
        second = asyncio.create_task(holds(party.locks, A))
        assert not await holds(party.hasty, A)
        assert not second.done()
    assert await second


async def test_a_lock_is_taken_again_after_its_release(party: Party):
    assert [await holds(party.hasty, A) for _ in range(3)] == [True] * 3


async def test_all_keys_or_none(party: Party):
    async with party.locks.hold([B]):
        assert not await holds(party.hasty, A, B)
        assert await holds(party.locks, A)


async def test_work_that_fails_lets_its_lock_go(party: Party):
    with pytest.raises(ZeroDivisionError):
        async with party.locks.hold([A]):
            _ = 1 / 0
    assert await holds(party.hasty, A)


async def test_cancelled_work_lets_its_lock_go(party: Party):
    async def work(entered: asyncio.Event) -> None:
        async with party.locks.hold([A]):
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    task = asyncio.create_task(work(entered))
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await holds(party.hasty, A)


async def test_fifty_holders_of_overlapping_sets_do_not_deadlock(party: Party):
    chance = random.Random(7)
    names = [f"lock:sku:{n}" for n in range(12)]
    busy: set[str] = set()

    async def work() -> bool:
        keys = chance.sample(names, chance.randint(1, 5))
        async with party.locks.hold(keys) as lock:
            assert not lock.held or not busy & set(keys)
            busy.update(keys)
            await asyncio.sleep(0)
            busy.difference_update(keys)
        return lock.held

    assert await asyncio.gather(*(work() for _ in range(50))) == [True] * 50


async def test_a_lapsed_lock_is_not_released_by_its_first_holder(party: Party):
    async with AsyncExitStack() as second:
        async with party.locks.hold([A, B]) as first:
            await party.lapse(A, B)
            other = await second.enter_async_context(party.locks.hold([A, B]))
            assert other.held
            await until(lambda: first.lost)
        assert not await holds(party.hasty, A)
        assert not other.lost


async def test_without_redis_the_work_goes_on(party: Party):
    party.go_away()
    async with party.locks.hold([A]) as lock:
        assert not lock.held


async def test_a_holder_longer_than_the_ttl_keeps_its_lock(redis: RedisLink):
    async with real(redis).hold([A]) as lock:
        others = [await holds(real_hasty(redis), A) for _ in range(15)]  # 50 ms each: more than two TTLs
    assert not any(others)
    assert not lock.lost


async def test_a_stalled_holder_loses_its_lock_and_learns_of_it(redis: RedisLink):
    before = missed("lost")
    async with AsyncExitStack() as second:
        async with real(redis).hold([A]) as first:
            time.sleep(TTL.total_seconds() * 1.2)  # noqa: ASYNC251 - as a stopped process would
            other = await second.enter_async_context(real(redis).hold([A]))
            assert other.held
            await until(lambda: first.lost)
        assert not await holds(real_hasty(redis), A)
    assert not other.lost
    assert missed("lost") == before + 1


async def test_a_crash_leaves_no_eternal_key(redis: RedisLink):
    locks = real(redis)
    assert await locks._take((A, B), "of a process that is gone")
    assert not await locks._take((A, C), "of another one that is gone")
    keys = await redis.client.keys("*")
    assert len(keys) == 4
    assert all([0 < await redis.client.pttl(key) <= 300 for key in keys])
    assert await holds(locks, A, B, C)


async def test_a_release_leaves_nothing_in_redis(redis: RedisLink):
    await asyncio.gather(*(holds(real(redis), A, B) for _ in range(5)))
    assert await redis.client.keys("*") == []


async def test_who_comes_back_at_once_does_not_starve_who_waits(redis: RedisLink):
    locks, rounds = real(redis), 0
    waiter = asyncio.create_task(holds(locks, A, B))
    while not waiter.done():
        async with locks.hold([A]):
            await asyncio.sleep(0.005)
        rounds += 1
    assert waiter.result()
    assert rounds < 10


async def test_redis_killed_under_a_holder_stops_nothing(valkey: Valkey, redis: RedisLink):
    async with real(redis).hold([A]) as lock:
        assert lock.held
        valkey.kill()
        assert not await holds(real(redis), B)
        await until(lambda: lock.lost)
    valkey.start()

    locks = real(redis)
    async with asyncio.timeout(5):
        while not await holds(locks, A):  # noqa: ASYNC110 - a server's start tells nobody
            await asyncio.sleep(0.05)


@contextmanager
def frozen(server: Valkey) -> Iterator[None]:
    """It takes connections and answers nothing."""
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_dead_redis_costs_one_deadline_a_second(valkey: Valkey, redis: RedisLink):
    before = missed("away")
    assert await holds(real(redis), A)
    with frozen(valkey):
        began = time.monotonic()
        assert not any([await holds(real(redis), A) for _ in range(50)])
        assert time.monotonic() - began < 2
    assert missed("away") == before + 50
