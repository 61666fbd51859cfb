"""The verb behind `media.render`: uploaded media become ready, or fail with a reason to be shown."""

from contextlib import suppress

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import ServiceAway, TryAgain
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.jobs.models import Claimed
from domain.media.commands import RenderMedia
from domain.media.errors import REFUSALS, PictureRefused, RenderingStopped
from domain.media.models import MEDIA
from domain.media.pictures import Pictures
from domain.media.renderer import Busy
from domain.media.rules import FAILED, PROCESSING, READY, awaits_bytes, stopped
from domain.ports import ObjectStore
from domain.settings import Media as MediaSettings
from domain.values import Clock, new_id

#: Seconds after which a picture that found no room, or no object store, asks again.
PAUSE = 2.0


class Rendering:
    """Ends each medium once, whatever is run again, beside itself, or was killed."""

    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        pictures: Pictures,
        events: Events,
        settings: MediaSettings,
        clock: Clock,
    ) -> None:
        self._media = database[MEDIA]
        self._database = database
        self._objects = objects
        self._pictures = pictures
        self._events = events
        self._keep_failed = settings.keep_deleted
        self._clock = clock

    async def run(self, command: RenderMedia, job: Claimed) -> Doc:
        """The medium's id and state; None for the state of one that is not there any more.

        Raises PictureRefused where the medium fails, or has failed, and TryAgain while there is no room,
        others look through the same bytes, or the object store is away.
        """
        del job
        medium = await self._media.find_one({"_id": command.media_id})
        if medium is None:
            return {"media_id": command.media_id, "state": None}
        if stopped(medium):  # its job is run once more
            medium = await self._resumed(medium)
        try:
            state = await self._process(medium)
        except ServiceAway as error:
            raise TryAgain("the object store is away", seconds=PAUSE) from error
        except Busy as error:
            raise TryAgain("there is no room for another picture", seconds=PAUSE) from error
        return {"media_id": command.media_id, "state": state}

    async def stop(self, medium: Doc) -> bool:
        """Fails a medium, as it was read, whose job ended without it. False where that is over by now."""
        seen = {"job_id": medium["job_id"]}
        return await self._fail(medium, RenderingStopped(), seen)

    async def _resumed(self, medium: Doc) -> Doc:
        """The medium, being processed again. Raises TryAgain where others changed it meanwhile."""
        query = {"_id": medium["_id"], "revision": medium["revision"]}
        fields = {
            "state": PROCESSING, "error": None, "finished_at": None, "sweep_at": None, "revision": new_id(),
        }  # fmt: skip
        if not (await self._media.update_one(query, {"$set": fields})).matched_count:
            raise TryAgain("somebody else was first")
        return medium | fields

    async def _process(self, medium: Doc) -> str | None:
        """The state that the medium comes to. The upload is not needed once that is its last."""
        refused = None
        if medium["state"] == PROCESSING:
            try:
                picture = await self._pictures.of(medium)
            except PictureRefused as refusal:
                await self._fail(medium, refusal)
                refused = refusal
            else:
                if picture is not None:
                    await self._be_ready(medium, picture)
        left = await self._media.find_one({"_id": medium["_id"]})
        if left is None:
            return None
        if not awaits_bytes(left):
            with suppress(ServiceAway):  # left to the sweep
                await self._objects.delete([medium["upload"]["key"]])
        if left["state"] == FAILED and not stopped(left):
            raise refused or REFUSALS[left["error"]["code"]]
        return str(left["state"])

    async def _be_ready(self, medium: Doc, picture: Doc) -> bool:
        data = {"sha256": picture["sha256"], "renditions": picture["renditions"]}
        # Another run may have found other bytes, as who has the form can send them anew: then these are lost.
        seen = {"sha256": picture["sha256"]}
        return await self._end(medium, {"state": READY, **picture}, "media.ready", data, seen)

    async def _fail(self, medium: Doc, refusal: PictureRefused, seen: Doc | None = None) -> bool:
        error = {"code": refusal.code, "message": refusal.message}
        ending = {"state": FAILED, "error": error, "sweep_at": self._clock() + self._keep_failed}
        data = {"code": refusal.code, "reason": refusal.message}
        return await self._end(medium, ending, "media.failed", data, seen or {})

    async def _end(self, medium: Doc, ending: Doc, event: str, data: Doc, seen: Doc) -> bool:
        """The end and its event, in one transaction, once. False where the medium is not as `seen`."""
        media_id, owner = medium["_id"], medium["account_id"]
        query = {"_id": media_id, "state": PROCESSING, **seen}
        while await self._media.find_one(query, {"_id": 1}) is not None:
            now, changes = self._clock(), Changes()
            fields = {**ending, "finished_at": now, "revision": new_id()}
            changes.update(MEDIA, query, {"$set": fields}, expect=1, name="medium")
            cursors = await self._events.cursors([owner])
            new = NewEvent(owner, event, media_id, {"media_id": media_id, **data})
            recorded = self._events.record(changes, [new], cursors=cursors, at=now)
            with suppress(GuardFailed):
                await changes.commit(self._database)
                self._events.publish(recorded)
                return True
        return False
