"""The verb behind `media.render`: uploaded media become ready, or fail with a reason to be shown."""

from contextlib import suppress

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import ServiceAway, TryAgain
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.jobs.models import Claimed
from domain.media.commands import RenderMedia
from domain.media.errors import PictureRefused
from domain.media.models import MEDIA
from domain.media.pictures import Pictures
from domain.media.renderer import Busy
from domain.media.rules import FAILED, PROCESSING, READY
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

        Raises PictureRefused where the medium fails, and TryAgain while there is no room, others look
        through the same bytes, or the object store is away.
        """
        del job
        medium = await self._media.find_one({"_id": command.media_id})
        if medium is None:
            return {"media_id": command.media_id, "state": None}
        try:
            state = await self._process(medium)
        except ServiceAway as error:
            raise TryAgain("the object store is away", seconds=PAUSE) from error
        except Busy as error:
            raise TryAgain("there is no room for another picture", seconds=PAUSE) from error
        return {"media_id": command.media_id, "state": state}

    async def _process(self, medium: Doc) -> str | None:
        """The state that the medium comes to. The upload is not needed once that is its last."""
        state: str | None = medium["state"]
        refused = None
        if state == PROCESSING:
            try:
                picture = await self._pictures.of(medium)
            except PictureRefused as refusal:
                state, refused = await self._fail(medium, refusal), refusal
            else:
                state = await self._be_ready(medium, picture) if picture else await self._state(medium)
        if state in {READY, FAILED}:
            with suppress(ServiceAway):  # left to the sweep
                await self._objects.delete([medium["upload"]["key"]])
        if refused and state == FAILED:
            raise refused
        return state

    async def _be_ready(self, medium: Doc, picture: Doc) -> str | None:
        data = {"sha256": picture["sha256"], "renditions": picture["renditions"]}
        return await self._end(medium, {"state": READY, **picture}, "media.ready", data)

    async def _fail(self, medium: Doc, refusal: PictureRefused) -> str | None:
        error = {"code": refusal.code, "message": refusal.message}
        ending = {"state": FAILED, "error": error, "sweep_at": self._clock() + self._keep_failed}
        data = {"code": refusal.code, "reason": refusal.message}
        return await self._end(medium, ending, "media.failed", data)

    async def _end(self, medium: Doc, ending: Doc, event: str, data: Doc) -> str | None:
        """The end and its event, in one transaction, once; answers the state that the medium is in."""
        media_id, owner = medium["_id"], medium["account_id"]
        while (state := await self._state(medium)) == PROCESSING:
            now, changes = self._clock(), Changes()
            fields = {**ending, "finished_at": now, "revision": new_id()}
            query = {"_id": media_id, "state": PROCESSING}
            changes.update(MEDIA, query, {"$set": fields}, expect=1, name="medium")
            cursors = await self._events.cursors([owner])
            new = NewEvent(owner, event, media_id, {"media_id": media_id, **data})
            recorded = self._events.record(changes, [new], cursors=cursors, at=now)
            with suppress(GuardFailed):
                await changes.commit(self._database)
                self._events.publish(recorded)
        return state

    async def _state(self, medium: Doc) -> str | None:
        found = await self._media.find_one({"_id": medium["_id"]}, {"state": 1})
        return found["state"] if found else None
