"""Media over HTTP: announced, sent to the store, completed, shown, linked, attached, deleted, restored."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.settings import Settings
from domain.values import new_id
from tests.api import Api, User, open_api
from tests.media import JPEG, Studio, fetch, picture, post


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api


@pytest.fixture
def clerk(api: Api) -> User:
    return api.user("media:write", "catalog:write")


@pytest.fixture
def studio(api: Api) -> Studio:
    return Studio(api.services)


def announced(body: bytes, **changed: Any) -> dict[str, Any]:
    return {"name": "chai.jpg", "size": len(body), "content_type": JPEG, **changed}


async def uploaded(user: User, body: bytes) -> str:
    """The id of a medium whose bytes are there."""
    answer = await user.post("/v1/media/uploads", announced(body))
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert await post(told["upload"]["url"], told["upload"]["fields"], body) == 204
    return str(told["id"])


async def put(user: User, path: str, body: Any, tag: str | None) -> httpx.Response:
    headers = user.headers() | ({"If-Match": tag} if tag else {})
    return await user.client.put(path, json=body, headers=headers)


async def test_a_picture_goes_straight_to_the_store_and_is_rendered_by_a_job(api: Api, clerk: User) -> None:
    body = picture()
    media_id = await uploaded(clerk, body)
    answer = await clerk.post(f"/v1/media/{media_id}/complete")
    assert answer.status_code == 202
    assert answer.json()["links"]["medium"] == f"/v1/media/{media_id}"
    assert (await clerk.get(f"/v1/media/{media_id}")).json()["state"] == "processing"
    await api.shop.work(answer.json()["job_id"])
    shown = (await clerk.get(f"/v1/media/{media_id}")).json()
    assert (shown["state"], shown["format"], shown["width"], shown["size"]) == ("ready", "jpeg", 64, len(body))
    for rendition in shown["renditions"]:
        got = await fetch(rendition["url"])
        assert (got.status_code, got.headers["content-type"]) == (200, rendition["content_type"])
        assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "key" not in shown["renditions"][0]
