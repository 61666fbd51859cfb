"""What many open pages show alike is read once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

Value = TypeVar("Value")

#: Seconds for which a read serves all pages of the process.
FRESH = 2.0
#: A read that took long serves this many times as long: open pages must not become a load of their own.
DEARNESS = 5.0
#: What tells of trouble is never put off for longer than it took: it takes long because there is trouble.
URGENT = 1.0
#: The longest time for which a read serves because it was dear.
STALE = 20.0
#: Reads that are kept.
MOST = 200


@dataclass(slots=True)
class _Kept:
    value: Any = None
    until: float = float("-inf")
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Reads:
    """Shared reads, by name. A read that fails is kept for nobody."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}

    async def read(
        self,
        name: Hashable,
        verb: Callable[[], Awaitable[Value]],
        *,
        fresh: float = FRESH,
        dearness: float = DEARNESS,
    ) -> Value:
        """What `verb` answers, or has answered a moment ago. Two reads of one name never overlap."""
        self._forget()
        kept = self._kept.setdefault(name, _Kept())
        async with kept.reading:
            if monotonic() >= kept.until:
                begun = monotonic()
                kept.value = await verb()
                took = monotonic() - begun
                kept.until = monotonic() + max(fresh, min(STALE, dearness * took))
            value: Value = kept.value
        return value

    def forget(self) -> None:
        """Has everything read anew: something was changed."""
        for kept in self._kept.values():
            kept.until = float("-inf")

    def _forget(self) -> None:
        if len(self._kept) < MOST:
            return
        now = monotonic()
        self._kept = {
            name: kept for name, kept in self._kept.items() if kept.reading.locked() or kept.until > now
        }
