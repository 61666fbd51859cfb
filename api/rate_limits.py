"""Limits of API keys, as answers tell of them: `RateLimit` and `RateLimit-Policy` (IETF httpapi draft 10)."""

import math

from fastapi import Request

from domain.accounts.rules import Principal
from domain.errors import TooManyRequests
from domain.ports import RateLimiter

#: Seconds of the window in which a key's requests are counted.
WINDOW = 60


async def spend(request: Request, limiter: RateLimiter, principal: Principal) -> None:
    """Counts the request of a key. Raises TooManyRequests past its limit; every answer tells what is left."""
    limit = principal.rate_limit or 0
    spent = await limiter.spend(f"key:{principal.key_id}", limit=limit, seconds=WINDOW)
    left = math.ceil(spent.reset)
    told = request.scope.setdefault("answer_headers", [])
    told.append((b"ratelimit-policy", f'"key";q={limit};w={WINDOW}'.encode()))
    told.append((b"ratelimit", f'"key";r={spent.remaining};t={left}'.encode()))
    if not spent.allowed:
        raise TooManyRequests(retry_after=max(1, left))
