"""How many workers of a pool one host runs: bounds, growth, and patience before shrinking. Pure."""

import re
from dataclasses import dataclass

#: Seconds after a growth before the next: what was started has to show.
GROW_PAUSE = 5.0
#: Seconds for which fewer have to do before one is stopped.
SHRINK_AFTER = 60.0
_BOUNDS = re.compile(r"([a-z][a-z0-9-]*)=(\d{1,3})\.\.(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The fewest and the most worker processes of a pool."""

    pool: str
    least: int
    most: int

    @classmethod
    def parse(cls, text: str) -> "Bounds":
        """Reads `orders=1..4`. Raises ValueError with what is wrong."""
        found = _BOUNDS.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} does not name a pool and its bounds, such as orders=1..4")
        least, most = int(found[2]), int(found[3])
        if not 0 <= least <= most or most == 0:
            raise ValueError(f"{text!r}: the second bound is at least 1, and not below the first")
        return cls(found[1], least, most)


class Steering:
    """Decides for one pool. Grows at once, at most to the double; shrinks one by one, and late."""

    def __init__(
        self, bounds: Bounds, *, grow_pause: float = GROW_PAUSE, shrink_after: float = SHRINK_AFTER
    ) -> None:
        self.bounds = bounds
        self._grow_pause = grow_pause
        self._shrink_after = shrink_after
        self._grown_at = float("-inf")
        self._enough_since: float | None = None

    def wanted(self, recommended: int, *, running: int, others: int, now: float) -> int:
        """How many this host is to run. `others` work for the pool elsewhere; `now` is in seconds."""
        asked = min(max(recommended - others, self.bounds.least), self.bounds.most)
        if running < self.bounds.least:
            return self.bounds.least
        if asked >= running:
            self._enough_since = None
            return self._grow(asked, running, now)
        if self._enough_since is None:
            self._enough_since = now
        if now - self._enough_since < self._shrink_after:
            return running
        self._enough_since = now
        return running - 1

    def _grow(self, asked: int, running: int, now: float) -> int:
        if asked == running or now - self._grown_at < self._grow_pause:
            return running
        self._grown_at = now
        return min(asked, max(2 * running, running + 1))
