"""Media over the real store and S3: room, races, what is swept, and objects that media share."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from domain.bootstrap import Services, open_services
from domain.errors import InvalidTransition, NotFound, ServiceAway, TryAgain
from domain.jobs.models import Accepted
from domain.media import claims as claims_module
from domain.media import sweeps
from domain.media.attachments import Picture, ProductPictures
from domain.media.commands import RenderMedia
from domain.media.errors import MediaInUse, MediaQuotaExceeded
from domain.media.rules import original_key, renditions_prefix
from domain.ports import StoredObject
from domain.settings import Settings
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.media import JPEG, Studio, picture

SHA256 = "f" * 64


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """A bucket of its own, as sweeps look at all of it; and room for five media."""
    own = {"STOCKYARD_S3_BUCKET": f"test-{new_id()[-12:]}", "STOCKYARD_MEDIA_QUOTA_COUNT": "5"}
    return {**environment, **own}


@pytest.fixture
async def services(settings: Settings, clock: MovableClock) -> AsyncIterator[Services]:
    async with open_services(settings, clock=clock) as services:
        yield services


@pytest.fixture
def studio(services: Services) -> Studio:
    return Studio(services)


@pytest.fixture
def shop(services: Services) -> Shop:
    return Shop(services)


async def used(services: Services, owner: str) -> tuple[int, int]:
    usage = await services.media.library.usage(owner)
    return usage["bytes"], usage["count"]


async def put(services: Services, *keys: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"

    for key in keys:
        await services.objects.put(key, body(), content_type=JPEG)


# -- room --------------------------------------------------------------------------------------------


async def test_uploads_at_once_never_take_more_room_than_there_is(services: Services, studio: Studio) -> None:
    answers = await asyncio.gather(
        *(studio.announced("ada", b"1234") for _ in range(9)), return_exceptions=True
    )
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert {type(each) for each in refused} == {MediaQuotaExceeded}
    assert len(answers) - len(refused) == 5
    assert await used(services, "ada") == (20, 5)
    await studio.announced("bob", b"1")


async def test_an_address_that_cannot_be_had_takes_no_room(
    services: Services, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise ServiceAway(service="S3")

    with monkeypatch.context() as patched:
        patched.setattr(type(studio.media.uploads._uploads), "form", away)
        with pytest.raises(ServiceAway):
            await studio.announced("ada", b"1234")
    assert await used(services, "ada") == (0, 0)


async def test_what_is_deleted_takes_its_room_until_its_bytes_are_gone(
    services: Services, studio: Studio, clock: MovableClock
) -> None:
    library, sweeps = studio.media.library, studio.media.sweeps
    ids = [(await studio.announced("ada", b"1234"))[0] for _ in range(5)]
    await asyncio.gather(*(library.delete(ids[0], owner="ada") for _ in range(3)))
    assert await used(services, "ada") == (20, 5)
    with pytest.raises(MediaQuotaExceeded) as full:
        await studio.announced("ada", b"1")
    assert full.value.detail["left"]["count"] == 0
    back = await asyncio.gather(*(library.restore(ids[0], owner="ada") for _ in range(3)))
    assert {medium["state"] for medium in back} == {"uploading"}
    assert await used(services, "ada") == (20, 5)
    # For good: also what was deleted before.
    await library.delete(ids[1], owner="ada")
    for media_id in ids[:2]:
        await asyncio.gather(*(library.delete(media_id, owner="ada", for_good=True) for _ in range(2)))
        with pytest.raises(NotFound):
            await library.restore(media_id, owner="ada")
    assert await used(services, "ada") == (20, 5)
    clock.move(minutes=2)
    # Two sweeps at once, and one that was killed before it had taken the medium away.
    await sweeps._free(await studio.get(ids[0]))
    await asyncio.gather(*(sweeps.due() for _ in range(2)))
    assert await used(services, "ada") == (12, 3)
    await studio.announced("ada", b"1")


# -- races -------------------------------------------------------------------------------------------


async def test_of_two_completions_at_once_one_is_the_job(services: Services, studio: Studio) -> None:
    media_id = await studio.uploaded("ada", picture())
    complete = studio.media.uploads.complete
    keys = ("one", "two", "two")
    answers = await asyncio.gather(
        *(complete(media_id, owner="ada", key=key) for key in keys), return_exceptions=True
    )
    jobs = {each.job_id for each in answers if isinstance(each, Accepted)}
    refused = [each for each in answers if not isinstance(each, Accepted)]
    assert len(jobs) == 1
    assert {type(each) for each in refused} <= {InvalidTransition}
    assert refused
    assert (await studio.get(media_id))["job_id"] == jobs.pop()


async def test_a_medium_whose_job_was_cancelled_gets_another(
    services: Services, studio: Studio, shop: Shop
) -> None:
    media_id, job_id = await studio.processing("ada", picture())
    with pytest.raises(InvalidTransition):
        await studio.media.uploads.complete(media_id, owner="ada", key="again")
    await services.jobs.cancel(job_id, owner="ada", by="ada")
    again = await studio.media.uploads.complete(media_id, owner="ada", key="again")
    await shop.work(again.job_id)
    assert (await studio.get(media_id))["state"] == "ready"


async def test_what_is_deleted_while_it_is_rendered_comes_back_whole(studio: Studio, shop: Shop) -> None:
    media_id, job_id = await studio.processing("ada", picture())
    await asyncio.gather(shop.work(job_id), studio.media.library.delete(media_id, owner="ada"))
    # One that was deleted before its job began is left alone by it.
    early, early_job = await studio.processing("ada", picture((1, 1, 1)))
    await studio.media.library.delete(early, owner="ada")
    await shop.work(early_job)
    for each in (media_id, early):
        assert (await studio.get(each))["state"] == "deleted"
        back = await studio.media.library.restore(each, owner="ada")
        if back["state"] == "processing":
            await shop.work(back["job_id"])
        shown = await studio.get(each)
        assert shown["state"] == "ready"
        stored = set(await studio.keys(""))
        assert stored >= {rendition["key"] for rendition in shown["renditions"]}


async def test_what_is_deleted_for_good_meanwhile_is_not_brought_back(studio: Studio) -> None:
    library = studio.media.library
    media_id, _ = await studio.processing("ada", picture())
    seen = await library.delete(media_id, owner="ada")
    await library.delete(media_id, owner="ada", for_good=True)
    # Somebody had looked at it before, and goes on now.
    await library._render_again(seen, seen["deleted_at"])
    assert (await studio.get(media_id))["state"] == "deleted"


async def test_a_medium_is_either_shown_or_deleted(services: Services, studio: Studio, shop: Shop) -> None:
    await shop.stock(TEA=0)
    media_id = await studio.ready("ada", picture())
    pictures = ProductPictures(media=(Picture(media_id=media_id),))
    for _ in range(2):
        await asyncio.gather(
            studio.media.attachments.set("TEA", pictures, expected=None, actor="ada"),
            studio.media.library.delete(media_id, owner="ada"),
            return_exceptions=True,
        )
        shown = (await services.products.get("TEA"))["media"]
        state = (await studio.get(media_id))["state"]
        assert (state, len(shown)) in {("ready", 1), ("deleted", 0)}
        nothing = ProductPictures(media=())
        await studio.media.attachments.set("TEA", nothing, expected=None, actor="ada")
        await studio.media.library.restore(media_id, owner="ada")
    await studio.media.attachments.set("TEA", pictures, expected=None, actor="ada")
    with pytest.raises(MediaInUse):
        await studio.media.library.delete(media_id, owner="ada")


# -- sweeps ------------------------------------------------------------------------------------------


async def test_uploads_that_never_came_are_given_up_however_many(
    services: Services, studio: Studio, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "BATCH", 1)
    media_id = await studio.uploaded("ada", picture())
    large = services.settings.media.multipart_over + 1
    medium, address = await studio.media.uploads.begin("ada", name="b", size=large, content_type=JPEG)
    assert sum(part["size"] for part in address.parts) == large
    assert await studio.media.sweeps.due() == 0
    clock.move(days=1, minutes=2)
    assert await studio.media.sweeps.due() == 2
    assert await used(services, "ada") == (0, 0)
    assert await studio.keys("") == []
    assert await services.media.sweeps._uploads.begun("uploads/", before=clock()) == ([], "")
    for gone in (media_id, medium["_id"]):
        with pytest.raises(NotFound):
            await studio.media.uploads.complete(gone, owner="ada", key=new_id())


async def test_what_failed_or_was_deleted_goes_when_its_time_is_over(
    services: Services, studio: Studio, shop: Shop, clock: MovableClock
) -> None:
    failed, job_id = await studio.processing("ada", b"no picture")
    await shop.work(job_id)
    deleted = await studio.ready("ada", picture())
    await studio.media.library.delete(deleted, owner="ada")
    clock.move(days=6)
    assert await studio.media.sweeps.due() == 0
    clock.move(days=1)
    with pytest.raises(NotFound):
        await studio.media.library.restore(deleted, owner="ada")
    clock.move(minutes=2)
    assert sum(await asyncio.gather(*(studio.media.sweeps.due() for _ in range(2)))) >= 2
    assert await used(services, "ada") == (0, 0)
    assert await studio.keys("") == []
    for gone in (failed, deleted):
        with pytest.raises(NotFound):
            await studio.get(gone)


async def test_objects_of_the_same_bytes_stay_while_one_medium_needs_them(
    studio: Studio, clock: MovableClock
) -> None:
    first, second = await studio.ready("ada", picture()), await studio.ready("bob", picture())
    kept = await studio.keys("")
    await studio.media.library.delete(first, owner="ada")
    clock.move(days=8)
    assert await studio.media.sweeps.due() == 1
    assert await studio.keys("") == kept
    await studio.media.library.delete(second, owner="bob")
    clock.move(days=8)
    assert await studio.media.sweeps.due() == 1
    assert await studio.keys("") == []


async def test_the_same_bytes_can_come_again_while_they_are_swept(
    services: Services, studio: Studio, shop: Shop, clock: MovableClock
) -> None:
    for shade in range(2):
        body = picture((shade, 0, 0))
        old = await studio.ready("ada", body)
        await studio.media.library.delete(old, owner="ada")
        new, job_id = await studio.processing("ada", body)
        clock.move(days=8)
        await asyncio.gather(studio.media.sweeps.due(), shop.work(job_id))
        while (await studio.get(new))["state"] == "processing":
            # It has to wait for the sweep.
            await services.relay.send_due()
            clock.move(seconds=5)
            await shop.work(job_id)
        medium = await studio.get(new)
        needed = {original_key(medium["sha256"]), *(each["key"] for each in medium["renditions"])}
        assert needed <= set(await studio.keys(""))
        await studio.media.library.delete(new, owner="ada")


async def test_a_worker_waits_while_its_bytes_are_looked_through(services: Services, studio: Studio) -> None:
    media_id, _ = await studio.processing("ada", picture())
    await put(services, original_key(SHA256))
    claims = services.media.claims
    at = services.clock() - 2 * claims_module.LOOK
    await services.database["media_garbage"].insert_one({"_id": SHA256, "at": at, "by": "killed"})
    with pytest.raises(TryAgain):
        await claims.claim(media_id, SHA256)
    # It has said so by now, and whoever looks leaves the objects.
    assert await claims.unfinished() == [SHA256]
    assert await claims.collect(SHA256) == 0
    assert await claims.claim(media_id, SHA256) is True
    assert await studio.keys("originals/") == [original_key(SHA256)]
    await studio.media.library.delete(media_id, owner="ada")
    assert await claims.claim(media_id, SHA256) is False


async def test_of_two_who_look_through_the_same_bytes_one_does(
    services: Services, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id, _ = await studio.processing("ada", picture())
    await put(services, original_key(SHA256))
    claims, delete = services.media.claims, services.objects.delete
    about, go_on = asyncio.Event(), asyncio.Event()

    async def slow(keys: Sequence[str]) -> None:
        about.set()
        await go_on.wait()
        await delete(keys)

    with monkeypatch.context() as patched:
        patched.setattr(services.objects, "delete", slow)
        first = asyncio.create_task(claims.collect(SHA256))
        await about.wait()
    assert await claims.unfinished() == []
    assert await claims.collect(SHA256) == 0
    # Whoever needs the bytes has to wait for the first.
    with pytest.raises(TryAgain):
        await claims.claim(media_id, SHA256)
    go_on.set()
    assert await first == 1
    assert await claims.claim(media_id, SHA256) is True


async def test_who_looks_for_too_long_deletes_nothing(
    services: Services, studio: Studio, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(services, original_key(SHA256))
    claims, listing = services.media.claims, services.objects.listing

    async def slow(prefix: str) -> Sequence[StoredObject]:
        clock.move(minutes=3)
        return await listing(prefix)

    with monkeypatch.context() as patched:
        patched.setattr(services.objects, "listing", slow)
        assert await claims.collect(SHA256) == 0
    assert await claims.unfinished() == [SHA256]
    assert await claims.collect(SHA256) == 1
    assert await services.database["media_garbage"].find_one({"_id": SHA256}) is None


async def test_objects_that_no_medium_names_are_deleted_and_no_others(
    services: Services, studio: Studio, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "PAGE", 2)
    media_id = await studio.ready("ada", picture())
    waiting = await studio.uploaded("ada", picture((1, 1, 1)))
    large = services.settings.media.multipart_over + 1
    for _ in range(3):
        await studio.media.uploads.begin("ada", name="b", size=large, content_type=JPEG)
    await put(services, "imports/x")
    kept = await studio.keys("")
    known = (await studio.get(media_id))["sha256"]
    lost = [
        f"uploads/{new_id()}",
        "uploads/nonsense",
        f"uploads/{media_id}",
        original_key(SHA256),
        f"{renditions_prefix(SHA256)}thumb-1.webp",
        f"{renditions_prefix(known)}thumb-0.webp",
    ]
    await put(services, *lost)
    for _ in range(5):
        await services.media.sweeps._uploads.begin(f"uploads/{new_id()}", content_type=JPEG)
    clock.move(hours=2)
    found = [await studio.media.sweeps.orphans() for _ in range(6)]
    assert sum(found) == len(lost) + 5
    assert await studio.keys("") == kept
    assert f"uploads/{waiting}" in kept
    assert len((await services.media.sweeps._uploads.begun("uploads/", before=clock()))[0]) == 3


async def test_a_render_of_what_is_gone_does_nothing(services: Services, shop: Shop) -> None:
    job = await services.jobs.submit(RenderMedia(media_id=new_id()), owner="ada", key="k")
    assert (await shop.work(job.job_id))["state"] == "succeeded"
