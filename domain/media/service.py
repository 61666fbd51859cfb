"""The library of an account: its media are shown, deleted, and brought back."""

from contextlib import suppress
from datetime import datetime

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import NotFound, TryAgain
from domain.jobs.service import Jobs
from domain.media.commands import RenderMedia
from domain.media.errors import MediaInUse
from domain.media.models import MEDIA
from domain.media.quota import Quota
from domain.media.rules import DELETED, FAILED, PROCESSING, UPLOADING
from domain.media.uploads import TRIES, process
from domain.products.models import PRODUCTS
from domain.settings import Media as MediaSettings
from domain.values import Clock, new_id

#: Products that are named where one of them keeps a medium from being deleted.
NAMED = 10


class Library:
    """`owner` None stands for those who see everybody's."""

    def __init__(
        self, *, database: Database, jobs: Jobs, quota: Quota, settings: MediaSettings, clock: Clock
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._quota = quota
        self._settings = settings
        self._clock = clock

    async def get(self, media_id: str, *, owner: str | None) -> Doc:
        """The medium, also a deleted one while it is kept. Raises NotFound."""
        medium = await self._database[MEDIA].find_one({"_id": media_id})
        if medium is None or owner not in {None, medium["account_id"]}:
            raise NotFound(media=media_id)
        return medium

    async def find(self, account_id: str, *, state: str | None, before: str | None, limit: int) -> list[Doc]:
        """The account's media, newest first, those before `before`."""
        query: Doc = {"account_id": account_id}
        if state is not None:
            query["state"] = state
        if before is not None:
            query["_id"] = {"$lt": before}
        return await self._database[MEDIA].find(query).sort("_id", -1).limit(limit).to_list()

    async def usage(self, account_id: str) -> Doc:
        """What the account has, and has room for."""
        return await self._quota.usage(account_id)

    async def delete(self, media_id: str, *, owner: str | None, for_good: bool = False) -> Doc:
        """Takes it away; until `sweep_at` it can be restored, and takes the room that it took. Idempotent.

        `for_good` has the sweep take it at once, also one that was deleted before. Raises NotFound, and
        MediaInUse while a product shows it.
        """
        for _ in range(TRIES):
            medium, now = await self.get(media_id, owner=owner), self._clock()
            if medium["state"] == DELETED:
                if not for_good or medium["sweep_at"] <= now:
                    return medium
                fields: Doc = {"sweep_at": now, "revision": new_id()}
            else:
                # Who attaches it meanwhile gives it another revision.
                await self._require_unused(media_id)
                fields = {
                    "state": DELETED,
                    "deleted_from": medium["state"],
                    "deleted_at": now,
                    "sweep_at": now if for_good else now + self._settings.keep_deleted,
                    "revision": new_id(),
                }
            if await self._changed(medium, fields):
                return medium | fields
        raise TryAgain("others kept changing the same medium")

    async def restore(self, media_id: str, *, owner: str | None) -> Doc:
        """Brings back what was deleted, as it was; what was to be rendered then is rendered. Idempotent.

        Raises NotFound, also where its time is over.
        """
        for _ in range(TRIES):
            medium, now = await self.get(media_id, owner=owner), self._clock()
            if medium["state"] != DELETED:
                return medium
            if medium["sweep_at"] <= now:
                raise NotFound(media=media_id)
            if medium["deleted_from"] == PROCESSING:
                await self._render_again(medium, now)
            else:
                await self._bring_back(medium, now)
        raise TryAgain("others kept changing the same medium")

    async def _render_again(self, medium: Doc, now: datetime) -> None:
        job_id, changes = new_id(), Changes()
        process(changes, medium, job_id=job_id, now=now)
        command = RenderMedia(media_id=medium["_id"])
        key = f"restore:{medium['revision']}"
        request = command.payload()
        whose = {"owner": medium["account_id"], "key": key, "request": request, "job_id": job_id}
        with suppress(GuardFailed):  # it is another's by now
            await self._jobs.submit_with(changes, command, **whose)

    async def _bring_back(self, medium: Doc, now: datetime) -> None:
        kept = {UPLOADING: self._settings.abandon_after, FAILED: self._settings.keep_deleted}
        lasts = kept.get(medium["deleted_from"])
        fields = {
            "state": medium["deleted_from"],
            "deleted_from": None,
            "deleted_at": None,
            "sweep_at": now + lasts if lasts is not None else None,
            "revision": new_id(),
        }
        await self._changed(medium, fields)

    async def _changed(self, medium: Doc, fields: Doc) -> bool:
        """Whether the medium was as it was read."""
        seen = {name: medium[name] for name in ("_id", "state", "revision")}
        return bool((await self._database[MEDIA].update_one(seen, {"$set": fields})).matched_count)

    async def _require_unused(self, media_id: str) -> None:
        shown = {"media.id": media_id, "deleted_at": None}
        rows = await self._database[PRODUCTS].find(shown, {"_id": 1}).limit(NAMED).to_list()
        if rows:
            raise MediaInUse(products=[row["_id"] for row in rows])
