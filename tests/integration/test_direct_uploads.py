"""What clients send straight to the store: what S3 refuses by itself, of forms and of parts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.adapters.s3 import S3ObjectStore
from domain.adapters.s3_direct import S3Direct
from domain.errors import ServiceAway
from domain.ports import UploadForm, UploadRefused
from domain.settings import S3
from domain.values import utcnow
from ops.servers.ports import draw
from ops.stack import Stack
from tests.integration.test_object_store import settings_on
from tests.media import JPEG, fetch, post

BODY = b"0123456789"
PART = 5 * 1024**2
#: Later than any upload of a test.
LATER = timedelta(minutes=1)


class Party:
    """The store, and who signs for it."""

    def __init__(self, settings: S3) -> None:
        self.store = S3ObjectStore(settings)
        self.direct = S3Direct(settings, self.store, clock=utcnow)

    async def form(self, *, seconds: int = 60) -> UploadForm:
        return await self.direct.form("uploads/a", size=len(BODY), content_type=JPEG, seconds=seconds)


@pytest.fixture
async def party(stack: Stack) -> AsyncIterator[Party]:
    party = Party(settings_on(stack))
    yield party
    party.store.close()


async def put(url: str, body: bytes) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.put(url, content=body)


async def test_a_form_takes_what_it_was_made_for_and_nothing_else(party: Party) -> None:
    form = await party.form()
    refusals: list[tuple[bytes, dict[str, Any]]] = [
        (BODY + b"x", {}),
        (BODY[:-1], {}),
        (BODY, {"Content-Type": "text/html"}),
        (BODY, {"key": "uploads/b"}),
        (BODY, {"key": "originals/a"}),
        (BODY, {"x-amz-signature": "0" * 64}),
    ]
    for body, changed in refusals:
        assert 400 <= await post(form.url, form.fields, body, **changed) < 404, changed
    assert await party.store.listing("") == []
    assert await post(form.url, form.fields, BODY) == 204
    assert await party.store.size("uploads/a") == len(BODY)


async def test_a_form_ends(party: Party) -> None:
    form = await party.form(seconds=-1)
    assert await post(form.url, form.fields, BODY) == 403
    assert await party.store.size("uploads/a") is None


async def test_parts_are_put_together_once_all_are_there(party: Party) -> None:
    sizes = (PART, 10)
    upload_id = await party.direct.begin("uploads/m", content_type=JPEG)
    urls = await party.direct.part_urls("uploads/m", upload_id, sizes, seconds=60)
    assert (await put(urls[1], b"y" * 11)).status_code == 403
    answers = [await put(url, b"y" * size) for url, size in zip(urls, sizes, strict=True)]
    etags = [answer.headers["etag"] for answer in answers]
    for wrong in (["0" * 32, etags[1]], etags[::-1], [*etags, etags[0]]):
        with pytest.raises(UploadRefused):
            await party.direct.finish("uploads/m", upload_id, wrong)
    assert await party.store.size("uploads/m") is None
    for _ in range(2):
        await party.direct.finish("uploads/m", upload_id, etags)
    assert await party.store.size("uploads/m") == PART + 10


async def test_parts_that_were_given_up_are_gone(party: Party) -> None:
    assert await party.direct.begun("uploads/", before=datetime.now(UTC) + LATER) == ([], "")
    upload_id = await party.direct.begin("uploads/n", content_type=JPEG)
    (url,) = await party.direct.part_urls("uploads/n", upload_id, [10], seconds=60)
    etag = (await put(url, BODY)).headers["etag"]
    assert await party.direct.begun("uploads/", before=datetime.now(UTC) - LATER) == ([], "")
    begun = [("uploads/n", upload_id)]
    assert await party.direct.begun("uploads/", before=datetime.now(UTC) + LATER) == (begun, "")
    for _ in range(2):
        await party.direct.abort("uploads/n", upload_id)
    assert await party.direct.begun("uploads/", before=datetime.now(UTC) + LATER) == ([], "")
    with pytest.raises(UploadRefused):
        await party.direct.finish("uploads/n", upload_id, [etag])


async def test_all_that_was_begun_is_seen_page_by_page(party: Party) -> None:
    keys = [f"uploads/{name}" for name in "abbcd"]
    made = {(key, await party.direct.begin(key, content_type=JPEG)) for key in keys}
    seen, after = list[tuple[str, str]](), ""
    while True:
        page, after = await party.direct.begun("uploads/", before=utcnow() + LATER, after=after, limit=3)
        assert len(page) <= 3
        seen += page
        if not after:
            break
    assert set(seen) == made
    for key, upload_id in made:
        await party.direct.abort(key, upload_id)


async def test_a_signed_address_reads_one_object_for_a_time(party: Party) -> None:
    form = await party.form()
    await post(form.url, form.fields, BODY)
    url = await party.direct.sign("uploads/a", until=utcnow() + LATER)
    assert (await fetch(url)).content == BODY
    assert (await fetch(url.replace("uploads/a", "uploads/b"))).status_code == 403
    assert (await fetch(url.partition("?")[0])).status_code == 403


async def test_clients_are_sent_to_the_public_address(stack: Stack) -> None:
    party = Party(settings_on(stack, public_url="https://files.example.com"))
    assert (await party.form()).url.startswith("https://files.example.com/")
    assert (await party.direct.sign("k", until=utcnow() + LATER)).startswith("https://files.example.com/")
    party.store.close()


async def test_a_store_that_is_away_says_so(stack: Stack) -> None:
    port = draw(["nobody"], avoid=())["nobody"]
    party = Party(settings_on(stack, endpoint_url=f"http://127.0.0.1:{port}"))
    for call in (
        party.form(),
        party.direct.begin("k", content_type=JPEG),
        party.direct.finish("k", "id", ["e"]),
        party.direct.abort("k", "id"),
        party.direct.begun("k", before=utcnow()),
    ):
        with pytest.raises(ServiceAway):
            await call
    party.store.close()
