"""Pictures, sent as clients send them: straight to the object store."""

import io
from collections.abc import Mapping
from typing import Any

import httpx
from PIL import Image

from domain.bootstrap import Services
from domain.values import new_id
from tests.factories import Shop

JPEG = "image/jpeg"


def picture(colour: tuple[int, int, int] = (200, 80, 40), *, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small JPEG."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


async def post(url: str, fields: Mapping[str, str], body: bytes, **changed: str) -> int:
    """The status of the store's answer to a form."""
    async with httpx.AsyncClient() as client:
        sent = {"file": ("picture", body)}
        return (await client.post(url, data={**fields, **changed}, files=sent)).status_code


async def fetch(url: str) -> httpx.Response:
    """What the store answers at an address."""
    async with httpx.AsyncClient() as client:
        return await client.get(url)


class Studio:
    """Media, brought to each of their states by the verbs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.media = services.media

    async def announced(self, owner: str, body: bytes, *, content_type: str = JPEG) -> tuple[str, Any]:
        """The id of a medium that is to come, and where to."""
        medium, address = await self.media.uploads.begin(
            owner, name="a.jpg", size=len(body), content_type=content_type
        )
        return medium["_id"], address

    async def uploaded(self, owner: str, body: bytes) -> str:
        """A medium whose bytes are there."""
        media_id, address = await self.announced(owner, body)
        assert await post(address.url, address.fields, body) == 204
        return media_id

    async def processing(self, owner: str, body: bytes) -> tuple[str, str]:
        """A medium and the job that is to render it."""
        media_id = await self.uploaded(owner, body)
        job = await self.media.uploads.complete(media_id, owner=owner, key=new_id())
        return media_id, job.job_id

    async def ready(self, owner: str, body: bytes) -> str:
        """A medium that a worker has rendered."""
        media_id, job_id = await self.processing(owner, body)
        await Shop(self._services).work(job_id)
        assert (await self.get(media_id))["state"] == "ready"
        return media_id

    async def get(self, media_id: str) -> dict[str, Any]:
        """The medium as it is stored."""
        return await self.media.library.get(media_id, owner=None)

    async def keys(self, prefix: str) -> list[str]:
        """Those of objects."""
        return [found.key for found in await self._services.objects.listing(prefix)]
