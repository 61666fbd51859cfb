"""One leader among many processes, by a key in Redis."""

import secrets
from datetime import timedelta

from domain.adapters.redis import RedisAway, RedisLink

#: Takes the free key or renews the own one; answers whether the token owns it.
LEAD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
RESIGN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisLeadership:
    """`ports.Leadership`.

    A leader that is silent for `ttl` is succeeded by whoever asks next. Each instance is a candidate of its
    own.
    """

    def __init__(self, redis: RedisLink, name: str, *, ttl: timedelta) -> None:
        self._redis = redis
        self._key = f"leader:{name}"
        self._token = secrets.token_hex(16)
        self._ttl = round(ttl.total_seconds() * 1000)
        self._lead_script = redis.client.register_script(LEAD)
        self._resign_script = redis.client.register_script(RESIGN)

    async def lead(self) -> bool:
        """Takes or renews the leadership. True, too, while Redis is away."""
        arguments = (self._token, self._ttl)
        try:
            return bool(await self._redis.call(lambda _: self._lead_script((self._key,), arguments)))
        except RedisAway:
            return True

    async def resign(self) -> None:
        """Gives up the own leadership, never another's."""
        try:
            await self._redis.call(lambda _: self._resign_script((self._key,), (self._token,)))
        except RedisAway:
            return
