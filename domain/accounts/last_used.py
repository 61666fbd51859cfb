"""When sessions and keys were last used: coarsely, and never a write per request."""

from datetime import datetime, timedelta
from typing import Any

from pymongo import UpdateOne

from domain.batching import Batcher
from domain.changes import Database, update_all
from domain.values import Clock

#: Between two notes of one thing by one process.
EVERY = timedelta(minutes=1)
#: Things whose last note is remembered; past that the oldest are noted again.
REMEMBERED = 16_384

_Note = tuple[str, str, datetime]


class LastUsed:
    """Notes uses in batches: one write for each minute, thing and process at most. It may be lost."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._noted: dict[str, datetime] = {}
        self._writes: Batcher[_Note, None] = Batcher(self._write, max_size=256, linger=0.05)

    def note(self, collection: str, thing: str) -> None:
        """It is used now. Waits for nothing."""
        now = self._clock()
        last = self._noted.pop(thing, None)
        if last is None and len(self._noted) >= REMEMBERED:
            del self._noted[next(iter(self._noted))]
        if last is not None and now - last < EVERY:
            self._noted[thing] = last
            return
        self._noted[thing] = now
        self._writes.post((collection, thing, now))

    async def drain(self) -> None:
        """Returns when all notes are written."""
        await self._writes.drain()

    async def _write(self, notes: list[_Note]) -> list[None]:
        operations: list[Any] = [
            UpdateOne(
                {"_id": thing},
                {"$max": {"last_used_at": at}},
                namespace=f"{self._database.name}.{collection}",
            )
            for collection, thing, at in notes
        ]
        await update_all(self._database, operations)
        return [None] * len(notes)
