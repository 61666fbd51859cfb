"""Limits of one process: what counts while Redis is away."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from domain.ports import Delays, Spent

#: Keys that are counted at once; past that the oldest are forgotten.
MOST = 10_000


@dataclass(slots=True)
class _Window:
    ends: float
    count: int = 0


@dataclass(slots=True)
class _Tries:
    forgotten: float
    count: int = 0
    until: float = 0.0


class LocalLimits:
    """`ports.RateLimiter` in memory. `clock` gives seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._tries: dict[str, _Tries] = {}

    async def spend(self, key: str, *, limit: int, seconds: int) -> Spent:
        """Counts one request in the key's window."""
        now = self._clock()
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            _make_room(self._windows, key)
            window = self._windows[key] = _Window(now + seconds)
        window.count += 1
        return Spent(window.count <= limit, max(0, limit - window.count), window.ends - now)

    async def attempt(self, key: str, delays: Delays) -> float:
        """Counts a try, unless there is still to wait."""
        left = await self.delay(key)
        if left:
            return left
        now = self._clock()
        tries = self._tries.get(key)
        if tries is None or tries.forgotten <= now:
            _make_room(self._tries, key)
            tries = self._tries[key] = _Tries(now)
        tries.count += 1
        tries.until = now + delays.after(tries.count)
        tries.forgotten = tries.until + delays.forget
        return 0.0

    async def delay(self, key: str) -> float:
        """The seconds that are still to wait."""
        tries = self._tries.get(key)
        return max(0.0, tries.until - self._clock()) if tries is not None else 0.0

    async def give_back(self, key: str) -> None:
        """One try less, and nothing to wait for."""
        tries = self._tries.get(key)
        if tries is not None and tries.count:
            tries.count -= 1
            tries.until = self._clock()

    async def forgive(self, key: str) -> None:
        """Forgets the key's tries."""
        self._tries.pop(key, None)


def _make_room(kept: dict[str, _Window] | dict[str, _Tries], key: str) -> None:
    kept.pop(key, None)
    if len(kept) >= MOST:
        del kept[next(iter(kept))]
