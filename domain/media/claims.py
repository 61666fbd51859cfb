"""Objects that media share: whoever relies on those of some bytes says so first, and whoever deletes looks.

Keys come from the bytes (SHA-256), so the same picture is stored once. A worker that stores or relies on
objects first writes the SHA-256 into its medium, then looks whether the bytes are being looked through; who
deletes first says that it looks through them, then looks which media name them. So at least one of two that
meet sees the other: the worker waits, or the objects stay.
"""

from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from domain.changes import Database, Doc
from domain.errors import TryAgain
from domain.media.models import MEDIA, MEDIA_GARBAGE
from domain.media.rules import PROCESSING, original_key, renditions_prefix
from domain.ports import ObjectStore
from domain.values import Clock, new_id

#: Seconds after which a worker looks again whether it may begin.
PAUSE = 1.0
#: How long one may look through some bytes: longer than the calls that it makes can take. What was begun and
#: not ended by then was cut short.
LOOK = timedelta(minutes=5)


class Claims:
    """Who needs the objects of which bytes."""

    def __init__(self, *, database: Database, objects: ObjectStore, clock: Clock) -> None:
        self._media = database[MEDIA]
        self._garbage = database[MEDIA_GARBAGE]
        self._objects = objects
        self._clock = clock

    async def claim(self, media_id: str, sha256: str) -> bool:
        """Keeps the objects of these bytes for the medium. Called before one is stored, or found to be there.

        Idempotent. False where the medium is not being processed any more: there is nothing to be done.
        Raises TryAgain while the bytes are being looked through.
        """
        query = {"_id": media_id, "state": PROCESSING}
        kept = await self._media.update_one(query, {"$set": {"sha256": sha256}})
        if not kept.matched_count:
            return False
        if await self._garbage.find_one({"_id": sha256}) is not None:
            raise TryAgain("objects of these bytes are being looked through", seconds=PAUSE)
        return True

    async def collect(self, sha256: str) -> int:
        """Deletes objects of these bytes that no medium names; answers how many.

        Those of a medium that is being processed, or was when it was deleted, are left: it has yet to say
        which they are. One looks at a time: where another does, nothing is done. Raises ServiceAway; what was
        begun is then gone on with by `unfinished`.
        """
        look = await self._begin(sha256)
        if look is None:
            return 0
        named = await self._named(sha256)
        found = [] if named is None else [key for key in await self._keys(sha256) if key not in named]
        if self._clock() - look["at"] > LOOK / 2:  # somebody else may begin before the objects are gone
            return 0
        await self._objects.delete(found)
        await self._garbage.delete_one(look)
        return len(found)

    async def unfinished(self) -> list[str]:
        """Bytes whose collection was begun and not ended in its time."""
        over = self._clock() - LOOK
        return [row["_id"] async for row in self._garbage.find({}) if row["at"] <= over]

    async def _begin(self, sha256: str) -> Doc | None:
        """Says that these bytes are looked through by this call; None where another one does."""
        now = self._clock()
        look = {"_id": sha256, "at": now, "by": new_id()}
        try:
            await self._garbage.insert_one(look)
        except DuplicateKeyError:
            taken = await self._garbage.update_one(
                {"_id": sha256, "at": {"$lte": now - LOOK}}, {"$set": {"at": now, "by": look["by"]}}
            )
            return look if taken.matched_count else None
        return look

    async def _named(self, sha256: str) -> set[str] | None:
        """Keys that media name; None where one of them has yet to say."""
        rows = await self._media.find({"sha256": sha256}).to_list()
        if any(PROCESSING in {row["state"], row["deleted_from"]} for row in rows):
            return None
        keys = {rendition["key"] for row in rows for rendition in row["renditions"]}
        return keys | ({original_key(sha256)} if rows else set())

    async def _keys(self, sha256: str) -> list[str]:
        """Of one picture: far fewer than one listing can have."""
        listings = [
            await self._objects.listing(prefix)
            for prefix in (original_key(sha256), renditions_prefix(sha256))
        ]
        return [found.key for listing in listings for found in listing]
