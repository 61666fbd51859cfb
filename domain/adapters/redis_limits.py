"""Limits that all processes count together, in Redis."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.asyncio import Redis as Client

from domain.adapters.local_limits import LocalLimits
from domain.adapters.redis import RedisAway, RedisLink
from domain.batching import Batcher
from domain.ports import Delays, Spent

#: Counts a request; answers the count and the milliseconds that the window still has.
SPEND = """
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if count == 1 or left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
"""
#: Milliseconds that are still to wait; 0 where there is nothing to wait for.
_LEFT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = math.ceil(tonumber(redis.call('HGET', KEYS[1], 'until') or '0') - now)
"""
DELAY = _LEFT + "return math.max(0, left)"
#: Counts a try unless there is still to wait. Arguments: free tries, first, longest, forgotten after.
ATTEMPT = (
    _LEFT
    + """
if left > 0 then return left end
local past = redis.call('HINCRBY', KEYS[1], 'count', 1) - tonumber(ARGV[1])
local wait = 0
if past > 0 then wait = math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ math.min(past - 1, 40)) end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + wait))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', wait + tonumber(ARGV[4])))
return 0
"""
)
#: Takes one try back. Who was admitted past the free tries was the only one, so the wait was its own.
GIVE_BACK = """
if tonumber(redis.call('HGET', KEYS[1], 'count') or '0') > 0 then
  redis.call('HINCRBY', KEYS[1], 'count', -1)
  redis.call('HDEL', KEYS[1], 'until')
end
return 0
"""
#: Requests that are counted in one pipeline, at most.
MAX_BATCH = 256

_Request: TypeAlias = tuple[str, int, int]


class RedisLimits:
    """`ports.RateLimiter`. While Redis is away each process counts for itself, from nothing."""

    def __init__(self, redis: RedisLink, *, prefix: str) -> None:
        self._redis = redis
        self._windows = f"limit:{prefix}:window:"
        self._tries = f"limit:{prefix}:tries:"
        self._local = LocalLimits()
        self._spend_script = redis.client.register_script(SPEND)
        self._delay_script = redis.client.register_script(DELAY)
        self._attempt_script = redis.client.register_script(ATTEMPT)
        self._give_back_script = redis.client.register_script(GIVE_BACK)
        self._requests: Batcher[_Request, Spent] = Batcher(self._spend, max_size=MAX_BATCH)

    async def spend(self, key: str, *, limit: int, seconds: int) -> Spent:
        """Counts one request. Requests that come at the same time are counted in one pipeline."""
        return await self._requests.submit((key, limit, seconds))

    async def attempt(self, key: str, delays: Delays) -> float:
        """Counts a try, unless there is still to wait; one script, so that no two tries count as one."""
        milliseconds = [round(each * 1000) for each in (delays.first, delays.longest, delays.forget)]
        arguments = [delays.free, *milliseconds]
        try:
            left = await self._redis.call(lambda _: self._attempt_script((self._tries + key,), arguments))
        except RedisAway:
            return await self._local.attempt(key, delays)
        return int(left) / 1000

    async def delay(self, key: str) -> float:
        """The seconds that are still to wait."""
        try:
            left = await self._redis.call(lambda _: self._delay_script((self._tries + key,)))
        except RedisAway:
            return await self._local.delay(key)
        return int(left) / 1000

    async def give_back(self, key: str) -> None:
        """One try less, here and in Redis: it was counted in one of both."""
        await self._local.give_back(key)
        try:
            await self._redis.call(lambda _: self._give_back_script((self._tries + key,)))
        except RedisAway:
            return

    async def forgive(self, key: str) -> None:
        """Forgets the key's tries, here and in Redis."""
        await self._local.forgive(key)
        try:
            await self._redis.call(lambda client: client.unlink(self._tries + key))
        except RedisAway:
            return

    async def _spend(self, batch: list[_Request]) -> Sequence[Spent]:
        async def send(client: Client) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for key, _, seconds in batch:
                await self._spend_script((self._windows + key,), (seconds * 1000,), client=pipeline)
            return list(await pipeline.execute())

        try:
            counted = await self._redis.call(send)
        except RedisAway:
            return [
                await self._local.spend(key, limit=limit, seconds=seconds) for key, limit, seconds in batch
            ]
        return [
            Spent(count <= limit, max(0, limit - count), left / 1000)
            for (_, limit, _), (count, left) in zip(batch, counted, strict=True)
        ]
