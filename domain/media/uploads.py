"""Uploads: a promise of room and an address, then the word that the bytes are there.

The bytes go from the client to the object store; this process never sees them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import Invalid, InvalidTransition, NotFound, ServiceAway, TryAgain
from domain.jobs.models import Accepted
from domain.jobs.rules import FINAL
from domain.jobs.service import Jobs
from domain.media.commands import RenderMedia
from domain.media.errors import NotUploaded
from domain.media.models import MEDIA
from domain.media.quota import GUARD, Quota
from domain.media.rules import PROCESSING, UPLOADING, part_sizes, stopped, upload_key
from domain.ports import ObjectStore, UploadRefused, UploadStore
from domain.settings import Media as MediaSettings
from domain.values import Clock, new_id

#: How often a write is tried again where another was first.
TRIES = 8


@dataclass(frozen=True, slots=True)
class Address:
    """Where an upload goes, until `expires_at`: by one form, or by one PUT for each of the parts."""

    expires_at: datetime
    url: str = ""
    fields: Doc | None = None
    parts: tuple[Doc, ...] = ()


class Uploads:
    """How media come in."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        objects: ObjectStore,
        uploads: UploadStore,
        quota: Quota,
        settings: MediaSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._objects = objects
        self._uploads = uploads
        self._quota = quota
        self._settings = settings
        self._clock = clock

    async def begin(self, account_id: str, *, name: str, size: int, content_type: str) -> tuple[Doc, Address]:
        """A new medium, and where its bytes go.

        Each call makes one: what is not used is swept, and counts against the quota until then. Raises
        Invalid for a size or type that is not taken, MediaQuotaExceeded, and ServiceAway.
        """
        self._require_taken(size, content_type)
        media_id, now = new_id(), self._clock()
        key = upload_key(media_id)
        in_parts = size > self._settings.multipart_over
        multipart = await self._uploads.begin(key, content_type=content_type) if in_parts else None
        medium: Doc = {
            "_id": media_id, "account_id": account_id, "state": UPLOADING, "name": name,
            "upload": {"key": key, "size": size, "content_type": content_type, "multipart_id": multipart},
            "sha256": None, "width": None, "height": None, "format": None, "renditions": [], "error": None,
            "job_id": None, "revision": new_id(), "created_at": now, "completed_at": None,
            "finished_at": None, "deleted_at": None, "deleted_from": None,
            "sweep_at": now + self._settings.abandon_after,
        }  # fmt: skip
        try:
            # First what can fail: nobody has the address yet.
            address = await self._address(medium)
            await self._insert(medium)
        except BaseException:
            if multipart is not None:
                with suppress(ServiceAway):
                    await self._uploads.abort(key, multipart)
            raise
        return medium, address

    async def address(self, media_id: str, *, owner: str) -> Address:
        """A fresh address for what has not arrived. Raises NotFound and InvalidTransition."""
        medium = await self._find(media_id, owner)
        if medium["state"] != UPLOADING:
            raise InvalidTransition(state=medium["state"], wanted=UPLOADING, allowed=[])
        return await self._address(medium)

    async def complete(
        self, media_id: str, *, owner: str, key: str, etags: Sequence[str] = (), request_id: str | None = None
    ) -> Accepted:
        """The job that looks at the bytes and renders them. One key is one job.

        Another key is taken for a medium whose job died or was cancelled: it then gets another. Raises
        NotFound, NotUploaded, InvalidTransition, IdempotencyKeyReused, ServiceAway.
        """
        request = {"media_id": media_id, "etags": list(etags)}
        for _ in range(TRIES):
            known = await self._jobs.accepted(RenderMedia, owner=owner, key=key, request=request)
            if known is not None:
                return known
            medium = await self._find(media_id, owner)
            if medium["state"] == UPLOADING:
                await self._require_arrived(medium, etags)
            else:
                await self._require_idle(medium)
            job_id, changes = new_id(), Changes()
            process(changes, medium, job_id=job_id, now=self._clock())
            with suppress(GuardFailed):
                return await self._jobs.submit_with(
                    changes,
                    RenderMedia(media_id=media_id),
                    owner=owner,
                    key=key,
                    request=request,
                    request_id=request_id,
                    job_id=job_id,
                )
        raise TryAgain("others kept completing the same medium")

    def _require_taken(self, size: int, content_type: str) -> None:
        if size > self._settings.max_bytes:
            raise Invalid(reason="too_large", size=size, most=self._settings.max_bytes)
        if content_type not in self._settings.types:
            raise Invalid(reason="content_type", content_type=content_type, taken=self._settings.types)

    async def _insert(self, medium: Doc) -> None:
        size = medium["upload"]["size"]
        for _ in range(TRIES):
            changes = Changes()
            self._quota.take(changes, medium["account_id"], size)
            changes.insert(MEDIA, [medium], guard=True)
            try:
                await changes.commit(self._database)
            except GuardFailed as error:
                if await self._database[MEDIA].find_one({"_id": medium["_id"]}, {"_id": 1}) is not None:
                    return
                if GUARD in error.guards:
                    await self._quota.refused(medium["account_id"], size)
            else:
                return
        raise TryAgain("others kept taking room of the same account")

    async def _address(self, medium: Doc) -> Address:
        upload = medium["upload"]
        lasts = self._settings.upload_time
        seconds, expires_at = int(lasts.total_seconds()), self._clock() + lasts
        if upload["multipart_id"] is None:
            form = await self._uploads.form(
                upload["key"], size=upload["size"], content_type=upload["content_type"], seconds=seconds
            )
            return Address(expires_at, form.url, dict(form.fields))
        sizes = part_sizes(upload["size"], self._settings.part_bytes)
        urls = await self._uploads.part_urls(upload["key"], upload["multipart_id"], sizes, seconds=seconds)
        parts = [
            {"number": number, "size": size, "url": url}
            for number, (size, url) in enumerate(zip(sizes, urls, strict=True), start=1)
        ]
        return Address(expires_at, parts=tuple(parts))

    async def _find(self, media_id: str, owner: str) -> Doc:
        medium = await self._database[MEDIA].find_one({"_id": media_id})
        if medium is None or medium["account_id"] != owner:
            raise NotFound(media=media_id)
        return medium

    async def _require_arrived(self, medium: Doc, etags: Sequence[str]) -> None:
        upload = medium["upload"]
        if upload["multipart_id"] is not None:
            await self._put_together(upload, etags)
        elif etags:
            raise Invalid(reason="not_in_parts")
        arrived = await self._objects.size(upload["key"])
        if arrived != upload["size"]:
            raise NotUploaded(size=upload["size"], arrived=arrived or 0)

    async def _put_together(self, upload: Doc, etags: Sequence[str]) -> None:
        """Idempotent. Raises NotUploaded."""
        parts = len(part_sizes(upload["size"], self._settings.part_bytes))
        refused = NotUploaded(size=upload["size"], parts=parts, reason="parts")
        if len(etags) != parts:
            raise refused
        try:
            await self._uploads.finish(upload["key"], upload["multipart_id"], etags)
        except UploadRefused as error:
            raise refused from error

    async def _require_idle(self, medium: Doc) -> None:
        """Raises InvalidTransition unless it is to be processed, and no job does."""
        if stopped(medium):
            return
        if medium["state"] == PROCESSING:
            job = await self._jobs.get(medium["job_id"], owner=None)
            if job["state"] in FINAL:
                return
        raise InvalidTransition(state=medium["state"], wanted=PROCESSING, allowed=[])


def process(changes: Changes, medium: Doc, *, job_id: str, now: datetime) -> None:
    """Hands the medium, as it was read, to a job."""
    seen = {name: medium[name] for name in ("_id", "state", "revision")}
    fields = {
        "state": PROCESSING,
        "job_id": job_id,
        "revision": new_id(),
        "completed_at": medium["completed_at"] or now,
        "deleted_at": None,
        "deleted_from": None,
        "sweep_at": None,
        "error": None,
        "finished_at": None,
    }
    changes.update(MEDIA, seen, {"$set": fields}, expect=1, name="medium")
