"""From an upload to stored objects: fetched, hashed, rendered, and kept by what their bytes are."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from domain.changes import Database, Doc
from domain.media.claims import Claims
from domain.media.errors import REFUSALS, PictureTooCostly, UploadMissing
from domain.media.models import MEDIA
from domain.media.renderer import Busy, Lost, Renderers
from domain.media.renditions import ENCODINGS, Form, name_of
from domain.media.rules import READY, original_key, renditions_prefix
from domain.media.scratch import Sweeps, scratch
from domain.ports import ObjectMissing, ObjectStore
from domain.settings import Media as MediaSettings

#: Bytes that are read of a file in one go.
CHUNK = 262_144
#: Pictures on this machine's disk for each process that decodes: others come and go meanwhile.
AHEAD = 4
#: Seconds that a picture waits for room on the disk.
PATIENCE = 30.0
#: Media of the same bytes that are looked at for what is known of them.
ALIKE = 20
#: Of objects that never change, as their keys come from their bytes: renditions are for everybody, originals
#: for their owner.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
PRIVATE: Final = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Original:
    """What was uploaded, on this machine's disk."""

    path: Path
    sha256: str


class Pictures:
    """What media are of."""

    def __init__(
        self,
        *,
        database: Database,
        objects: ObjectStore,
        claims: Claims,
        renderers: Renderers,
        settings: MediaSettings,
    ) -> None:
        self._database = database
        self._objects = objects
        self._claims = claims
        self._renderers = renderers
        self._max_pixels = settings.max_pixels
        self._forms = [Form(**form.model_dump()) for form in settings.renditions]
        self._room = asyncio.Semaphore(AHEAD * settings.render_processes)
        self._sweeps = Sweeps()

    async def of(self, medium: Doc) -> Doc | None:
        """What the medium is to know of its picture: its objects are stored. None where nobody wants it now.

        Raises PictureRefused, Busy where there is no room for a while, TryAgain as `Claims.claim` does, and
        ServiceAway.
        """
        async with self._folder() as folder:
            original = await self._fetch(medium["upload"], folder / "original")
            if not await self._claims.claim(medium["_id"], original.sha256):
                return None
            return await self._known(original.sha256) or await self._made(original, folder)

    @asynccontextmanager
    async def _folder(self) -> AsyncIterator[Path]:
        """Room on the disk, for as many pictures as may be there at once. Raises Busy."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._room.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            await asyncio.to_thread(self._sweeps.run)
            with scratch() as folder:
                yield folder
        finally:
            self._room.release()

    async def _fetch(self, upload: Mapping[str, Any], path: Path) -> Original:
        """Streams the upload to the disk, no further than to the size that was announced."""
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            try:
                async with self._objects.open(upload["key"]) as parts:
                    async for part in parts:
                        size += len(part)
                        if size > upload["size"]:
                            raise UploadMissing
                        await asyncio.to_thread(_take, part, file, digest)
            except ObjectMissing as error:
                raise UploadMissing from error
        return Original(path, digest.hexdigest())

    async def _known(self, sha256: str) -> Doc | None:
        """What is known of these bytes from another medium, which has each rendition of the table."""
        wanted = {self._key(sha256, form, encoding) for form in self._forms for encoding in ENCODINGS}
        others = self._database[MEDIA].find({"sha256": sha256, "state": READY}).limit(ALIKE)
        async for other in others:
            if {each["key"] for each in other["renditions"]} == wanted:
                return {name: other[name] for name in ("sha256", "width", "height", "format", "renditions")}
        return None

    async def _made(self, original: Original, folder: Path) -> Doc:
        """Renders, and stores what is not there. Raises PictureRefused, Busy, and OSError for a full disk."""
        async with self._renderers.place() as renderer:
            try:
                answer = await renderer.render(
                    original.path, folder, self._forms, max_pixels=self._max_pixels
                )
            except Lost as error:
                raise PictureTooCostly from error
        if "unwritten" in answer:
            raise OSError(answer["unwritten"])
        if "refused" in answer:
            raise REFUSALS[answer["refused"]](**answer["detail"])
        found, key = answer["found"], original_key(original.sha256)
        *renditions, _ = await _together(
            *(self._rendition(original.sha256, made) for made in answer["made"]),
            self._store(key, original.path, content_type=f"image/{found['format']}", cached=PRIVATE),
        )
        picture = {name: found[name] for name in ("width", "height", "format")}
        return {"sha256": original.sha256, **picture, "renditions": renditions}

    async def _rendition(self, sha256: str, made: Mapping[str, Any]) -> Doc:
        form = next(form for form in self._forms if form.name == made["name"])
        key, content_type = self._key(sha256, form, made["encoding"]), ENCODINGS[made["encoding"]]
        size = await self._store(key, Path(made["path"]), content_type=content_type, cached=IMMUTABLE)
        return {
            "name": form.name, "content_type": content_type, "key": key,
            "width": made["width"], "height": made["height"], "bytes": size,
        }  # fmt: skip

    @staticmethod
    def _key(sha256: str, form: Form, encoding: str) -> str:
        return renditions_prefix(sha256) + name_of(form, encoding)

    async def _store(self, key: str, path: Path, *, content_type: str, cached: str) -> int:
        """The object's bytes. What is there stays: the same key is the same picture."""
        size = await self._objects.size(key)
        if size is not None:
            return size
        return await self._objects.put(key, _parts(path), content_type=content_type, cache_control=cached)


def _take(part: bytes, file: IO[bytes], digest: Any) -> None:
    file.write(part)
    digest.update(part)


async def _parts(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while part := await asyncio.to_thread(file.read, CHUNK):
            yield part


async def _together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Their answers, in order. Where one raises, the others are ended, and it is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
