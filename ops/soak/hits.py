"""Kills that hit: a worker dies with a batch in its hands, and what it leaves behind says so."""

import os
import random
import signal
import time
from datetime import timedelta
from typing import Any, TypeAlias

import redis

from ops.fleet import Member

#: Seconds that a worker is frozen to see whether it may have a batch, and then, to see that the locks are not
#: another's, which works on meanwhile: longer than the batches of others take.
FROZEN, SURE = 0.15, 0.6
#: Seconds between two looks, at most.
PAUSE = 0.1
#: Seconds by which a living holder may be late with renewing its lock.
LATE = 0.5
#: Seconds of clocks that differ.
SLACK = 0.2

#: Token of the holder and seconds left, by lock.
Held: TypeAlias = dict[str, tuple[str, float]]


def freeze_at_work(worker: Member, locks: "Locks", chance: random.Random, *, seconds: float) -> bool:
    """Freezes the worker at random moments until locks stay taken meanwhile: it dies with them in hand.

    False, and it runs on, where that does not happen in the given time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(chance.uniform(0, PAUSE))
        os.kill(worker.pid, signal.SIGSTOP)
        taken = locks.held()
        if _stay(taken, locks, seconds=FROZEN) and _stay(taken, locks, seconds=SURE):
            return True
        os.kill(worker.pid, signal.SIGCONT)
    return False


def _stay(taken: Held, locks: "Locks", *, seconds: float) -> bool:
    """Whether any of the locks has the same holder after so many seconds."""
    time.sleep(seconds)
    now = locks.held()
    return any(name in now and now[name][0] == token for name, (token, _) in taken.items())


class Locks:
    """The locks of all batches that are in anybody's hands.

    A batch takes the locks of its stock before it looks, and gives them back after its transaction.
    """

    def __init__(self, url: str, *, ttl: timedelta) -> None:
        #: Seconds after which a lock that was not renewed has no holder that lives.
        self.unrenewed = ttl.total_seconds() / 3 + LATE
        self._redis: redis.Redis = redis.Redis.from_url(url, socket_timeout=1.0, decode_responses=True)

    def held(self) -> Held:
        """Right now; nothing where Redis is away."""
        try:
            names = [name for name in self._redis.scan_iter("lock:*", count=1000) if ":next" not in name]
            asked: Any = self._redis.pipeline(transaction=False)
            for name in names:
                asked.get(name).pttl(name)
            told = asked.execute()
        except redis.RedisError:
            return {}
        pairs = zip(names, told[::2], told[1::2], strict=True)
        return {name: (token, left / 1000) for name, token, left in pairs if token is not None}

    def close(self) -> None:
        """Leaves Redis."""
        self._redis.close()


def orphans(locks: Locks) -> int:
    """How many batches are in the hands of the dead: nobody renews their locks, nobody gives them back.

    Takes `locks.unrenewed` seconds to see.
    """
    before, began = locks.held(), time.monotonic()
    time.sleep(locks.unrenewed)
    after, seconds = locks.held(), time.monotonic() - began
    tokens = {
        token
        for name, (token, left) in before.items()
        if name in after and after[name][0] == token and after[name][1] < left - seconds + SLACK
    }
    return len(tokens)
