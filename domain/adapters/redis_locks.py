"""Locks in Redis: many keys at once, all or none. They save work; what must hold is guarded in the store."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from prometheus_client import Counter, Histogram

from domain.adapters.redis import RedisAway, RedisLink
from domain.ports import Lock

#: Bounds of the pause between two tries, in seconds.
POLL = (0.002, 0.02)
#: How long a claim to be next lasts, in milliseconds; a waiter renews it with every try.
CLAIM = 100

WAITED = Histogram(
    "stockyard_lock_wait_seconds",
    "Time until a lock was held, or the work went on without it.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0),
)
MISSES = Counter(
    "stockyard_lock_misses_total",
    "Locks that the work went on without: the wait was over, Redis was away, or it expired under its holder.",
    ["reason"],
)

#: Takes all keys or none. The first half of KEYS are the locks; the second half says who takes each next, so
#: that a holder which comes back at once does not starve those who wait. Whoever waits claims all its keys
#: or none, too: two claims never cross. Running it again with the same token changes nothing.
TAKE = """
local token, ttl, claim = ARGV[1], ARGV[2], ARGV[3]
local count = #KEYS / 2
local free = true
for i = 1, count do
  local holder, claimant = redis.call('GET', KEYS[i]), redis.call('GET', KEYS[count + i])
  if claimant and claimant ~= token then return 0 end
  if holder and holder ~= token then free = false end
end
for i = 1, count do
  if free then
    redis.call('SET', KEYS[i], token, 'PX', ttl)
    redis.call('DEL', KEYS[count + i])
  else
    redis.call('SET', KEYS[count + i], token, 'PX', claim)
  end
end
return free and 1 or 0
"""
#: Renews what the token still owns; answers how many keys that are.
RENEW = """
local kept = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then kept = kept + redis.call('PEXPIRE', key, ARGV[2]) end
end
return kept
"""
#: Deletes what the token still owns; answers how many keys that were.
RELEASE = """
local freed = 0
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then freed = freed + redis.call('DEL', key) end
end
return freed
"""


class RedisLocks:
    """`ports.Locks`.

    A living holder renews at a third of `ttl`, which is what a crashed holder's lock lasts. After `wait` the
    work goes on without the lock.
    """

    def __init__(self, redis: RedisLink, *, ttl: timedelta, wait: timedelta) -> None:
        self._redis = redis
        self._ttl = ttl.total_seconds()
        self._wait = wait.total_seconds()
        self._take_script = redis.client.register_script(TAKE)
        self._renew_script = redis.client.register_script(RENEW)
        self._release_script = redis.client.register_script(RELEASE)

    @asynccontextmanager
    async def hold(self, keys: Sequence[str]) -> AsyncIterator[Lock]:
        """Waits for all keys; goes on without them when the wait is over or Redis is away. Never raises."""
        lock = Lock(tuple(sorted(set(keys))), held=False)
        token = secrets.token_hex(16)
        try:
            lock.held = await self._acquire(lock.keys, token)
            keeper = asyncio.create_task(self._keep(lock, token)) if lock.held else None
            try:
                yield lock
            finally:
                if keeper is not None:
                    keeper.cancel()
        finally:
            # Also when cancelled while asking: Redis may have given the lock.
            await asyncio.shield(self._redis.spawn(self._release(lock, token)))

    async def _acquire(self, keys: tuple[str, ...], token: str) -> bool:
        if not keys:
            return True
        began = time.monotonic()
        try:
            taken = await self._poll(keys, token, until=began + self._wait)
        except RedisAway:
            MISSES.labels("away").inc()
            return False
        finally:
            WAITED.observe(time.monotonic() - began)
        if not taken:
            MISSES.labels("timeout").inc()
        return taken

    async def _poll(self, keys: tuple[str, ...], token: str, *, until: float) -> bool:
        while not await self._take(keys, token):
            pause = random.uniform(*POLL)
            if time.monotonic() + pause >= until:
                return False
            await asyncio.sleep(pause)
        return True

    async def _take(self, keys: tuple[str, ...], token: str) -> bool:
        claims = tuple(f"{key}:next" for key in keys)
        arguments = (token, round(self._ttl * 1000), CLAIM)
        return bool(await self._redis.call(lambda _: self._take_script((*keys, *claims), arguments)))

    async def _keep(self, lock: Lock, token: str) -> None:
        safe_until = time.monotonic() + self._ttl
        while lock.keys:
            await asyncio.sleep(self._ttl / 3)
            asked = time.monotonic()
            try:
                kept = await self._renew(lock.keys, token)
            except RedisAway:
                kept = len(lock.keys) if asked < safe_until else 0
            else:
                safe_until = asked + self._ttl
            if kept < len(lock.keys):
                _lose(lock)

    async def _renew(self, keys: tuple[str, ...], token: str) -> int:
        arguments = (token, round(self._ttl * 1000))
        return int(await self._redis.call(lambda _: self._renew_script(keys, arguments)))

    async def _release(self, lock: Lock, token: str) -> None:
        if not lock.keys:
            return
        try:
            freed = int(await self._redis.call(lambda _: self._release_script(lock.keys, (token,))))
        except RedisAway:
            return
        if lock.held and freed < len(lock.keys):
            _lose(lock)


def _lose(lock: Lock) -> None:
    if not lock.lost:
        lock.lost = True
        MISSES.labels("lost").inc()
