"""What is taken away by itself: uploads that never came, what was deleted, and objects that nobody names."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.media.claims import Claims
from domain.media.models import MEDIA, MEDIA_MARKS
from domain.media.quota import Quota
from domain.media.rules import (
    DELETED,
    ORIGINALS,
    PROCESSING,
    RENDITIONS,
    UPLOADING,
    UPLOADS,
    awaits_bytes,
    original_key,
    sha256_of,
)
from domain.ports import ObjectStore, StoredObject, UploadStore
from domain.values import Clock, new_id

#: Media that are read at once, and how often one run reads: a minute is enough for so many.
BATCH, ROUNDS = 50, 20
#: Keys that one run looks at under each prefix, and keys of one read by key.
PAGE, KEYS = 1000, 25
#: What the walk over uploads in parts is called among the marks.
PARTS = "parts"
#: What was to end a moment ago is left for the next run: clocks differ, and somebody may bring it back.
SKEW = timedelta(minutes=1)
#: An upload in parts that no medium names may belong to one that is being stored.
FRESH = timedelta(hours=1)


class Sweeps:
    """Every verb may run twice at once, and goes on where another run stopped. Raises ServiceAway."""

    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        uploads: UploadStore,
        claims: Claims,
        quota: Quota,
        clock: Clock,
    ) -> None:
        self._media = database[MEDIA]
        self._marks = database[MEDIA_MARKS]
        self._database = database
        self._objects = objects
        self._uploads = uploads
        self._claims = claims
        self._quota = quota
        self._clock = clock

    async def due(self) -> int:
        """Takes away media whose time is over, the oldest first, a thousand at most; answers how many."""
        over = {"sweep_at": {"$lte": self._clock() - SKEW, "$ne": None}}
        count = 0
        for _ in range(ROUNDS):
            rows = await self._media.find(over).sort("sweep_at").limit(BATCH).to_list()
            count += sum([await self._purge(row) for row in rows])
            if len(rows) < BATCH:
                break
        return count

    async def orphans(self) -> int:
        """Deletes objects, and uploads in parts, that no medium names; answers how many.

        Looks at the next page of keys under each prefix and of uploads in parts, and begins again after the
        last.
        """
        count = sum([await self._claims.collect(sha256) for sha256 in await self._claims.unfinished()])
        count += await self._lost_uploads(await self._page(UPLOADS))
        for prefix in (ORIGINALS, RENDITIONS):
            for sha256 in await self._unnamed(await self._page(prefix)):
                count += await self._claims.collect(sha256)
        return count + await self._lost_parts()

    async def _purge(self, medium: Doc) -> bool:
        if medium["state"] != DELETED and not await self._give_up(medium):
            return False
        upload = medium["upload"]
        if upload["multipart_id"] is not None:
            await self._uploads.abort(upload["key"], upload["multipart_id"])
        await self._objects.delete([upload["key"]])
        await self._free(medium)
        await self._media.delete_one({"_id": medium["_id"], "state": DELETED})
        if medium["sha256"] is not None:
            await self._claims.collect(medium["sha256"])
        return True

    async def _give_up(self, medium: Doc) -> bool:
        """Deletes what was never completed, or failed, for good. False where somebody was first."""
        fields = {
            "state": DELETED,
            "deleted_from": medium["state"],
            "deleted_at": self._clock(),
            "revision": new_id(),
        }
        seen = {name: medium[name] for name in ("_id", "state", "sweep_at")}
        return bool((await self._media.update_one(seen, {"$set": fields})).matched_count)

    async def _free(self, medium: Doc) -> None:
        """Gives its room back, once. Nobody can bring it back any more."""
        changes = Changes()
        seen = {"_id": medium["_id"], "state": DELETED, "swept": {"$ne": True}}
        changes.update(MEDIA, seen, {"$set": {"swept": True}}, expect=1, name="medium")
        self._quota.give_back(changes, medium["account_id"], medium["upload"]["size"])
        with suppress(GuardFailed):
            await changes.commit(self._database)

    async def _page(self, prefix: str) -> Sequence[StoredObject]:
        after = await self._mark(prefix)
        found = await self._objects.listing(prefix, after=after, limit=PAGE)
        await self._go_on(prefix, after, found[-1].key if len(found) == PAGE else "")
        return found

    async def _mark(self, walk: str) -> str:
        mark = await self._marks.find_one({"_id": walk})
        return str(mark["after"]) if mark else ""

    async def _go_on(self, walk: str, before: str, after: str) -> None:
        if after != before:
            await self._marks.update_one({"_id": walk}, {"$set": {"after": after}}, upsert=True)

    async def _lost_uploads(self, page: Sequence[StoredObject]) -> int:
        """A medium is stored before anybody can upload to its key: without one the object is nobody's."""
        ids = [found.key.removeprefix(UPLOADS) for found in page]
        awaited = {row["_id"] for row in await self._rows("_id", ids) if awaits_bytes(row)}
        lost = [f"{UPLOADS}{media_id}" for media_id in ids if media_id not in awaited]
        await self._objects.delete(lost)
        return len(lost)

    async def _unnamed(self, page: Sequence[StoredObject]) -> list[str]:
        """Bytes that have an object on the page which no medium names."""
        keys = {found.key: sha256 for found in page if (sha256 := sha256_of(found.key))}
        rows = await self._rows("sha256", sorted(set(keys.values())))
        busy = {row["sha256"] for row in rows if PROCESSING in {row["state"], row["deleted_from"]}}
        named = {rendition["key"] for row in rows for rendition in row["renditions"]}
        named |= {original_key(row["sha256"]) for row in rows}
        return sorted({sha256 for key, sha256 in keys.items() if key not in named and sha256 not in busy})

    async def _rows(self, field: str, values: Sequence[str]) -> list[Doc]:
        rows: list[Doc] = []
        for part in _parts(values):
            rows += await self._media.find({field: {"$in": part}}).to_list()
        return rows

    async def _lost_parts(self) -> int:
        after = await self._mark(PARTS)
        begun, following = await self._uploads.begun(
            UPLOADS, before=self._clock() - FRESH, after=after, limit=PAGE
        )
        await self._go_on(PARTS, after, following)
        rows = await self._rows("_id", sorted({key.removeprefix(UPLOADS) for key, _ in begun}))
        awaited = {
            (row["upload"]["key"], row["upload"]["multipart_id"])
            for row in rows
            if UPLOADING in {row["state"], row["deleted_from"]}
        }
        lost = [each for each in begun if each not in awaited]
        for key, upload_id in lost:
            await self._uploads.abort(key, upload_id)
        return len(lost)


def _parts(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + KEYS] for start in range(0, len(values), KEYS))
