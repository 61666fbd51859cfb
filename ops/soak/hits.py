"""Kills that hit: a worker dies with a batch in its hands, and what it leaves behind says so."""

import re
import time
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import urlopen

import redis

from ops.fleet import Member

#: In a worker's metrics: how often a batch has got the locks of its stock, and so gone to work.
BEGUN = re.compile(r"^stockyard_lock_wait_seconds_count (\S+)", re.MULTILINE)
#: Seconds between two looks at the metrics.
GLANCE = 0.003
#: A living holder renews its lock within a third of its 5 s: one that was not in this time has none.
UNRENEWED = 2.2
#: Seconds of clocks that differ.
SLACK = 0.2

#: Token of the holder and seconds left, by lock.
Held: TypeAlias = dict[str, tuple[str, float]]


def wait_for_batch(worker: Member, *, seconds: float) -> bool:
    """Returns once the worker has gone to work at another batch; False where it did not in that time."""
    url, deadline = worker.ready_url.replace("/healthz", "/metrics"), time.monotonic() + seconds
    before = _begun(url)
    while time.monotonic() < deadline:
        if _begun(url) > before:
            return True
        time.sleep(GLANCE)
    return False


class Locks:
    """The locks of all batches that are in anybody's hands.

    A batch takes the locks of its stock before it looks, and gives them back after its transaction.
    """

    def __init__(self, url: str) -> None:
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

    Takes `UNRENEWED` seconds to see.
    """
    before, began = locks.held(), time.monotonic()
    time.sleep(UNRENEWED)
    after, seconds = locks.held(), time.monotonic() - began
    tokens = {
        token
        for name, (token, left) in before.items()
        if name in after and after[name][0] == token and after[name][1] < left - seconds + SLACK
    }
    return len(tokens)


def _begun(url: str) -> float:
    try:
        with urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback URL
            return sum(float(each) for each in BEGUN.findall(answer.read().decode()))
    except (URLError, OSError):
        return 0.0
