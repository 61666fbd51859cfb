"""The verb behind `media.render`: what a medium comes to, once, whatever happens to who is at it."""

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from domain.adapters.s3 import S3ObjectStore
from domain.bootstrap import Services
from domain.changes import Doc
from domain.errors import TryAgain
from domain.jobs.models import Claimed
from domain.media import pictures as pictures_module
from domain.media import scratch
from domain.media.claims import Claims
from domain.media.commands import RenderMedia
from domain.media.errors import NotAPicture, PictureRefused, PictureTooCostly, UploadMissing
from domain.media.models import MEDIA, MEDIA_GARBAGE
from domain.media.pictures import Pictures
from domain.media.renderer import CannotStart, Limits, Renderers, _Renderer
from domain.media.rendering import Rendering
from domain.media.rules import (
    DELETED,
    FAILED,
    PROCESSING,
    READY,
    original_key,
    renditions_prefix,
    upload_key,
)
from domain.settings.media import Media, RenditionForm
from domain.values import new_id, utcnow
from tests.fakes import FakeObjectStore
from tests.pictures import corners, encoded, plain

TABLE = [
    RenditionForm(name="thumb", width=24, height=24, fit="cover"),
    RenditionForm(name="card", width=60, height=60),
]


class Studio:
    """Renders uploads as the worker does."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.renderers = Renderers(processes=2, limits=Limits(30, 512 * 1024**2, 1))
        self.rendering = self.make()

    def make(self, table: list[RenditionForm] = TABLE, **changed: Any) -> Rendering:
        """As another process would have it."""
        settings, services = Media(renditions=table), self.services
        shared: dict[str, Any] = {
            "database": services.database, "objects": changed.get("objects", services.objects),
        }  # fmt: skip
        pictures = Pictures(
            claims=Claims(clock=services.clock, **shared),
            renderers=changed.get("renderers", self.renderers),
            settings=settings,
            **shared,
        )
        return Rendering(
            pictures=pictures, events=services.events, settings=settings, clock=services.clock, **shared
        )

    async def upload(
        self, data: bytes, *, content_type: str = "image/jpeg", account: str = "", size: int | None = None
    ) -> str:
        """A medium whose bytes have arrived."""
        media_id, now = new_id(), utcnow()
        medium: Doc = {
            "_id": media_id, "account_id": account or new_id(), "state": PROCESSING, "name": "picture.jpg",
            "upload": {
                "key": upload_key(media_id), "size": len(data) if size is None else size,
                "content_type": content_type, "multipart_id": None,
            },
            "sha256": None, "renditions": [], "error": None, "job_id": new_id(), "revision": new_id(),
            "created_at": now, "deleted_from": None, "sweep_at": None,
        }  # fmt: skip
        await self.services.database[MEDIA].insert_one(medium)

        async def body() -> AsyncIterator[bytes]:
            yield data

        await self.services.objects.put(upload_key(media_id), body(), content_type=content_type)
        return media_id

    async def run(self, media_id: str, rendering: Rendering | None = None) -> Doc:
        return await (rendering or self.rendering).run(RenderMedia(media_id=media_id), JOB)

    async def medium(self, media_id: str) -> Doc:
        return cast(Doc, await self.services.database[MEDIA].find_one({"_id": media_id}))

    async def told(self, media_id: str) -> list[Doc]:
        medium = await self.medium(media_id)
        return await self.services.events.after(medium["account_id"], 0, limit=10)

    async def keys(self, sha256: str) -> list[str]:
        objects = self.services.objects
        found = [
            *await objects.listing(original_key(sha256)), *await objects.listing(renditions_prefix(sha256)),
        ]  # fmt: skip
        return [each.key for each in found]

    async def head(self, key: str) -> Doc:
        store = cast(S3ObjectStore, self.services.objects)
        name = self.services.settings.s3.bucket
        return await store.do(lambda: dict(store.bucket.client.head_object(Bucket=name, Key=key)))


#: Nothing of the job decides what a medium comes to.
JOB = cast(Claimed, None)


def fresh(kind: str = "jpeg", width: int = 320) -> bytes:
    """A file whose bytes nobody else has: all tests share the bucket."""
    image = corners() if width == 320 else plain(width, width)
    return encoded(image, kind) + new_id().encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{scratch._PREFIX}*"))


@pytest.fixture
async def studio(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Studio]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    studio = Studio(services)
    yield studio
    await studio.renderers.close()
    assert folders() == []


async def test_a_picture_becomes_ready_with_every_rendition_of_the_table(studio: Studio):
    data = fresh()
    media_id = await studio.upload(data)
    assert await studio.run(media_id) == {"media_id": media_id, "state": READY}
    medium = await studio.medium(media_id)
    facts = {name: medium[name] for name in ("state", "sha256", "width", "height", "format", "error")}
    assert facts == {
        "state": READY, "sha256": sha256(data), "width": 320, "height": 240, "format": "jpeg", "error": None,
    }  # fmt: skip
    shown = {(each["name"], each["content_type"]): each for each in medium["renditions"]}
    assert set(shown) == {(name, f"image/{kind}") for name in ("thumb", "card") for kind in ("webp", "jpeg")}
    for each in shown.values():
        assert await studio.services.objects.size(each["key"]) == each["bytes"]
    card = shown["card", "image/webp"]
    assert (card["width"], card["height"]) == (60, 45)
    assert await studio.services.objects.size(upload_key(media_id)) is None


async def test_objects_say_what_they_are_and_how_long_they_can_be_kept(studio: Studio):
    data = fresh("png")
    media_id = await studio.upload(data)
    await studio.run(media_id)
    medium = await studio.medium(media_id)
    for each in medium["renditions"]:
        head = await studio.head(each["key"])
        assert head["ContentType"] == each["content_type"]
        assert head["CacheControl"] == "public, max-age=31536000, immutable"
    original = await studio.head(original_key(sha256(data)))
    assert (original["ContentType"], original["ContentLength"]) == ("image/png", len(data))
    assert original["CacheControl"].startswith("private")


async def test_what_the_bytes_are_decides_and_not_what_was_said(studio: Studio):
    data = fresh("webp")
    media_id = await studio.upload(data, content_type="image/png")
    await studio.run(media_id)
    assert (await studio.medium(media_id))["format"] == "webp"
    assert (await studio.head(original_key(sha256(data))))["ContentType"] == "image/webp"


async def test_it_is_told_that_a_picture_is_ready(studio: Studio):
    media_id = await studio.upload(fresh())
    await studio.run(media_id)
    medium = await studio.medium(media_id)
    (event,) = await studio.told(media_id)
    assert (event["type"], event["subject"]) == ("media.ready", media_id)
    assert event["data"] == {
        "media_id": media_id, "sha256": medium["sha256"], "renditions": medium["renditions"],
    }  # fmt: skip


async def test_what_is_no_picture_fails_with_a_reason_and_leaves_nothing(studio: Studio):
    data = b"PK\x03\x04 no picture at all"
    media_id = await studio.upload(data)
    with pytest.raises(NotAPicture):
        await studio.run(media_id)
    medium = await studio.medium(media_id)
    assert medium["state"] == FAILED
    assert medium["error"] == {"code": "not_a_picture", "message": NotAPicture.message}
    assert medium["sweep_at"] > utcnow()
    (event,) = await studio.told(media_id)
    assert event["type"] == "media.failed"
    assert event["data"] == {"media_id": media_id, "code": "not_a_picture", "reason": NotAPicture.message}
    assert await studio.keys(sha256(data)) == []
    assert await studio.services.objects.size(upload_key(media_id)) is None


@pytest.mark.parametrize("size", [None, 10])
async def test_an_upload_that_is_gone_or_larger_than_announced_fails(studio: Studio, size: int | None):
    media_id = await studio.upload(fresh(), size=size)
    if size is None:
        await studio.services.objects.delete([upload_key(media_id)])
    with pytest.raises(UploadMissing):
        await studio.run(media_id)
    assert (await studio.medium(media_id))["error"]["code"] == "upload_missing"


async def test_the_same_picture_is_stored_and_rendered_once(studio: Studio):
    data = fresh()
    one, other = await studio.upload(data), await studio.upload(data)
    await studio.run(one)
    keys = await studio.keys(sha256(data))
    await studio.run(other, studio.make(renderers=Renderers(processes=0, limits=Limits(1, 1, 1))))
    assert (await studio.medium(other))["renditions"] == (await studio.medium(one))["renditions"]
    assert await studio.keys(sha256(data)) == keys
    assert len(keys) == 1 + 2 * len(TABLE)


async def test_another_table_makes_other_objects_of_the_same_original(studio: Studio):
    data = fresh()
    one, other = await studio.upload(data), await studio.upload(data)
    await studio.run(one)
    await studio.run(other, studio.make([RenditionForm(name="card", width=61, height=61)]))
    before, after = [
        {each["key"] for each in (await studio.medium(medium))["renditions"]} for medium in (one, other)
    ]
    assert not before & after
    assert len(await studio.keys(sha256(data))) == 1 + 2 * len(TABLE) + 2


async def test_many_at_the_same_medium_end_it_once(studio: Studio):
    media_id = await studio.upload(fresh())
    ends = await asyncio.gather(*(studio.run(media_id, studio.make()) for _ in range(6)))
    assert {end["state"] for end in ends} == {READY}
    assert await studio.run(media_id) == ends[0]
    assert len(await studio.told(media_id)) == 1


async def test_many_at_the_same_broken_medium_fail_it_once(studio: Studio):
    media_id = await studio.upload(b"no picture")
    ends = await asyncio.gather(
        *(studio.run(media_id, studio.make()) for _ in range(6)), return_exceptions=True
    )
    assert all(isinstance(end, PictureRefused) or end["state"] == FAILED for end in cast(list[Any], ends))
    assert len(await studio.told(media_id)) == 1


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1])
async def test_a_run_that_was_cut_short_is_made_again_whole(studio: Studio, after: float):
    data = fresh("png", 1600)
    media_id = await studio.upload(data)
    run = asyncio.create_task(studio.run(media_id))
    await asyncio.sleep(after)
    run.cancel()
    await asyncio.wait([run])
    assert folders() == []
    assert (await studio.run(media_id))["state"] == READY
    assert len(await studio.told(media_id)) == 1
    assert len(await studio.keys(sha256(data))) == 1 + 2 * len(TABLE)


async def test_a_medium_that_was_deleted_meanwhile_stays_so(studio: Studio):
    data = fresh()
    media_id = await studio.upload(data)
    await studio.services.database[MEDIA].update_one({"_id": media_id}, {"$set": {"state": DELETED}})
    assert (await studio.run(media_id))["state"] == DELETED
    assert await studio.told(media_id) == []
    assert await studio.keys(sha256(data)) == []
    await studio.services.database[MEDIA].delete_one({"_id": media_id})
    assert (await studio.run(media_id))["state"] is None


async def test_bytes_that_are_looked_through_are_waited_for(studio: Studio):
    data = fresh()
    media_id = await studio.upload(data)
    await studio.services.database[MEDIA_GARBAGE].insert_one({"_id": sha256(data), "at": utcnow(), "by": "x"})
    with pytest.raises(TryAgain):
        await studio.run(media_id)
    assert await studio.keys(sha256(data)) == []
    await studio.services.database[MEDIA_GARBAGE].delete_one({"_id": sha256(data)})
    assert (await studio.run(media_id))["state"] == READY


async def test_while_the_object_store_is_away_the_medium_waits(studio: Studio):
    away = FakeObjectStore()
    away.away = True
    media_id = await studio.upload(fresh())
    with pytest.raises(TryAgain):
        await studio.run(media_id, studio.make(objects=away))
    assert (await studio.medium(media_id))["state"] == PROCESSING


async def test_while_there_is_no_room_the_medium_waits(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures_module, "PATIENCE", 0.01)
    rendering = studio.make()
    media_id = await studio.upload(fresh())
    rendering._pictures._room = asyncio.Semaphore(0)
    with pytest.raises(TryAgain):
        await studio.run(media_id, rendering)
    assert (await studio.medium(media_id))["state"] == PROCESSING


async def test_a_picture_that_is_too_much_for_every_process_fails(studio: Studio):
    slow = Renderers(processes=1, limits=Limits(seconds=0.0001, memory=512 * 1024**2, threads=1))
    media_id = await studio.upload(fresh("png", 2000))
    with pytest.raises(PictureTooCostly):
        await studio.run(media_id, studio.make(renderers=slow))
    assert (await studio.medium(media_id))["error"]["code"] == "picture_too_costly"


async def test_processes_that_cannot_start_fail_no_medium(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    media_id = await studio.upload(fresh())
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", "/bin/false")
        with pytest.raises((CannotStart, OSError)):
            await studio.run(media_id)
    assert (await studio.run(media_id))["state"] == READY


async def test_a_full_disk_fails_no_medium(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    media_id = await studio.upload(fresh())

    async def unwritten(*_: Any, **__: Any) -> Doc:
        return {"unwritten": "No space left on device"}

    with monkeypatch.context() as patched:
        patched.setattr(_Renderer, "render", unwritten)
        with pytest.raises(OSError, match="No space"):
            await studio.run(media_id)
    assert (await studio.medium(media_id))["state"] == PROCESSING
    assert (await studio.run(media_id))["state"] == READY


async def test_a_failure_that_is_met_again_is_told_again(studio: Studio):
    media_id = await studio.upload(b"no picture")
    for _ in range(2):
        with pytest.raises(NotAPicture):
            await studio.run(media_id)
    assert len(await studio.told(media_id)) == 1


async def test_bytes_that_another_run_has_replaced_end_nothing(studio: Studio):
    data = fresh()
    media_id = await studio.upload(data)
    rendering = studio.make()
    of = rendering._pictures.of

    async def meanwhile(medium: Doc) -> Doc | None:
        picture = await of(medium)
        other = {"$set": {"sha256": "0" * 64}}
        await studio.services.database[MEDIA].update_one({"_id": media_id}, other)
        return picture

    rendering._pictures.of = meanwhile  # type: ignore[method-assign]
    assert (await studio.run(media_id, rendering))["state"] == PROCESSING
    assert (await studio.run(media_id))["state"] == READY


def test_folders_are_looked_for_each_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sweeps, left = scratch.Sweeps(), tmp_path / f"{scratch._PREFIX}left"
    sweeps.run()
    left.mkdir()
    os.utime(left, (time.time() - 7200,) * 2)
    sweeps.run()
    assert left.exists()
    now += 3601
    sweeps.run()
    assert not left.exists()


def test_what_killed_workers_left_is_deleted_and_what_others_use_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch.scratch() as used:
        left = tmp_path / f"{scratch._PREFIX}left"
        left.mkdir()
        (left / "original").write_bytes(b"half a picture")
        os.utime(left, (time.time() - 7200,) * 2)
        assert scratch.sweep() == 1
        assert folders() == [used]
    assert folders() == []
