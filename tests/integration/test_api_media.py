"""Media over HTTP: announced, sent to the store, completed, shown, linked, attached, deleted, restored."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.values import new_id
from tests.api import Api, User
from tests.media import JPEG, Studio, fetch, picture, post


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
    assert (shown["state"], shown["format"], shown["width"], shown["size"]) == (
        "ready",
        "jpeg",
        64,
        len(body),
    )
    for rendition in shown["renditions"]:
        got = await fetch(rendition["url"])
        assert (got.status_code, got.headers["content-type"]) == (200, rendition["content_type"])
        assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "key" not in shown["renditions"][0]


async def test_a_file_that_is_no_picture_fails_with_a_reason(api: Api, clerk: User) -> None:
    media_id = await uploaded(clerk, b"no picture at all")
    job = (await clerk.post(f"/v1/media/{media_id}/complete")).json()["job_id"]
    await api.shop.work(job)
    shown = (await clerk.get(f"/v1/media/{media_id}")).json()
    assert (shown["state"], shown["error"]["code"], shown["renditions"]) == ("failed", "not_a_picture", [])
    assert shown["kept_until"] > shown["finished_at"]


async def test_a_completion_is_answered_once_per_key(api: Api, clerk: User) -> None:
    media_id = await uploaded(clerk, picture())
    first = await clerk.post(f"/v1/media/{media_id}/complete", key="k")
    again = await clerk.post(f"/v1/media/{media_id}/complete", key="k")
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    other = await clerk.post(f"/v1/media/{await uploaded(clerk, picture())}/complete", key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    elsewhere = await clerk.post(f"/v1/media/{media_id}/complete")
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "invalid_transition")


async def test_what_has_not_arrived_is_not_completed(clerk: User) -> None:
    body = picture()
    told = (await clerk.post("/v1/media/uploads", announced(body))).json()
    answer = await clerk.post(f"/v1/media/{told['id']}/complete")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_uploaded")
    assert answer.json()["facts"] == {"size": len(body), "arrived": 0}
    keyless = await clerk.client.post(f"/v1/media/{told['id']}/complete", headers=clerk.headers())
    assert keyless.json()["code"] == "idempotency_key_missing"
    parts = await clerk.post(f"/v1/media/{told['id']}/complete", {"etags": ["0" * 32]})
    assert (parts.status_code, parts.json()["facts"]) == (422, {"reason": "not_in_parts"})


async def test_an_announcement_of_what_is_not_taken_is_refused(api: Api, clerk: User) -> None:
    malformed: list[dict[str, Any]] = [
        {"size": 0},
        {"size": "12"},
        {"size": 1.5},
        {"name": " "},
        {"name": "a\x00.jpg"},
        {"name": "n" * 201},
        {"content_type": "IMAGE/JPEG"},
        {"content_type": "image/jpeg; charset=utf-8"},
        {"key": "uploads/other"},
    ]
    for changed in malformed:
        answer = await clerk.post("/v1/media/uploads", announced(b"x") | changed)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), changed
    most = api.services.settings.media.max_bytes
    answer = await clerk.post("/v1/media/uploads", announced(b"x", size=most + 1))
    assert answer.json()["facts"] == {"reason": "too_large", "size": most + 1, "most": most}
    answer = await clerk.post("/v1/media/uploads", announced(b"x", content_type="image/svg+xml"))
    assert answer.status_code == 422
    assert answer.json()["facts"]["reason"] == "content_type"
    assert JPEG in answer.json()["facts"]["taken"]


async def test_each_route_needs_its_scope(api: Api, clerk: User) -> None:
    media_id, customer = await uploaded(clerk, picture()), api.user()
    for path in ("/v1/media", f"/v1/media/{media_id}", f"/v1/media/{media_id}/upload"):
        assert (await customer.get(path)).status_code == 403
        assert (await api.client.get(path)).status_code == 401
    for path in (
        "/v1/media/uploads",
        *(f"/v1/media/{media_id}/{verb}" for verb in ("complete", "restore", "links")),
    ):
        assert (await customer.post(path, {})).status_code == 403
        assert (await api.client.post(path, json={})).status_code == 401
    assert (await customer.delete(f"/v1/media/{media_id}")).status_code == 403
    assert (await put(customer, "/v1/products/TEA/media", {"media": []}, "*")).status_code == 403
    assert (await api.client.put("/v1/products/TEA/media", json={"media": []})).status_code == 401
    uploader = api.user("media:write")
    assert (await put(uploader, "/v1/products/TEA/media", {"media": []}, "*")).status_code == 403


async def test_somebody_elses_media_are_not_there_but_for_staff(api: Api, studio: Studio) -> None:
    owner, other = api.user("media:write"), api.user("media:write")
    media_id = await uploaded(owner, picture())
    for call in (
        other.get(f"/v1/media/{media_id}"),
        other.get(f"/v1/media/{media_id}/upload"),
        other.post(f"/v1/media/{media_id}/complete"),
        other.post(f"/v1/media/{media_id}/links", {}),
        other.post(f"/v1/media/{media_id}/restore"),
        other.delete(f"/v1/media/{media_id}"),
        other.get(f"/v1/media/{new_id()}"),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    refused = await other.get("/v1/media", params={"account": owner.id})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    for staff in (api.user("ops:read"), api.user("catalog:write")):
        assert (await staff.get(f"/v1/media/{media_id}")).status_code == 200
        listed = (await staff.get("/v1/media", params={"account": owner.id})).json()["media"]
        assert [each["id"] for each in listed] == [media_id]
    # Who reads only changes nothing.
    reader = api.user("ops:read", "media:write")
    assert (await reader.delete(f"/v1/media/{media_id}")).status_code == 404
    assert (await studio.get(media_id))["state"] == "uploading"


async def test_media_are_listed_newest_first_page_by_page(clerk: User) -> None:
    ids = [(await clerk.post("/v1/media/uploads", announced(b"x"))).json()["id"] for _ in range(3)]
    first = (await clerk.get("/v1/media", params={"limit": 2})).json()
    assert [each["id"] for each in first["media"]] == ids[:0:-1]
    assert (first["usage"]["bytes"], first["usage"]["count"]) == (3, 3)
    second = (await clerk.get("/v1/media", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["id"] for each in second["media"]] == ids[:1]
    assert second["next_cursor"] is None
    assert (await clerk.get("/v1/media", params={"state": "ready"})).json()["media"] == []
    assert (await clerk.get("/v1/media", params={"state": "lost"})).status_code == 422
    assert (await clerk.get("/v1/media", params={"cursor": "x"})).json()["code"] == "invalid_cursor"


async def test_a_fresh_address_takes_the_place_of_one_that_has_ended(clerk: User, api: Api) -> None:
    body = picture()
    told = (await clerk.post("/v1/media/uploads", announced(body))).json()
    fresh = (await clerk.get(f"/v1/media/{told['id']}/upload")).json()
    assert fresh["method"] == "POST"
    assert await post(fresh["url"], fresh["fields"], body) == 204
    assert (await clerk.post(f"/v1/media/{told['id']}/complete")).status_code == 202
    answer = await clerk.get(f"/v1/media/{told['id']}/upload")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


async def test_the_original_is_read_by_a_signed_address_alone(clerk: User, studio: Studio) -> None:
    body = picture((1, 2, 3))
    media_id = await studio.ready(clerk.id, body)
    link = (await clerk.post(f"/v1/media/{media_id}/links", {"seconds": 60})).json()
    assert (await fetch(link["url"])).content == body
    assert (await fetch(link["url"].partition("?")[0])).status_code == 403
    ends = datetime.fromisoformat(link["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < ends <= timedelta(seconds=60)
    waiting = await uploaded(clerk, picture())
    answer = await clerk.post(f"/v1/media/{waiting}/links", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    assert answer.json()["facts"]["state"] == "uploading"
    for asked in ({"network": "203.0.113.0/24"}, {"starts_at": "2031-01-01T00:00:00Z"}):
        answer = await clerk.post(f"/v1/media/{media_id}/links", asked)
        assert answer.status_code == 422
    answer = await clerk.post(f"/v1/media/{media_id}/links", {"network": "203.0.113.7"})
    assert answer.json()["facts"] == {"reason": "needs_cloudfront"}
    for wrong in (
        {"seconds": 0},
        {"seconds": 604_801},
        {"starts_at": "0001-01-01T00:00:00+14:00"},
        {"starts_at": "2020-01-01T00:00:00Z"},
        {"network": "::1"},
        {"network": "1.2.3.4/8"},
        {"of": "x"},
    ):
        answer = await clerk.post(f"/v1/media/{media_id}/links", wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), wrong


async def test_products_show_their_pictures_in_order_and_lists_the_first(
    api: Api, clerk: User, studio: Studio
) -> None:
    await api.shop.stock(TEA=1)
    first, second = await asyncio.gather(
        studio.ready(clerk.id, picture((9, 9, 9))), studio.ready(clerk.id, picture((8, 8, 8)))
    )
    tag = (await clerk.get("/v1/products/TEA")).headers["etag"]
    wanted = {"media": [{"media_id": first, "alt": "A pot"}, {"media_id": second}]}
    answer = await put(clerk, "/v1/products/TEA/media", wanted, tag)
    assert answer.status_code == 200, answer.text
    for _ in range(2):  # from the store, then as it is kept
        shown = (await api.client.get("/v1/products/TEA")).json()
        assert [(each["id"], each["alt"]) for each in shown["media"]] == [(first, "A pot"), (second, None)]
    listed = (await api.client.get("/v1/products")).json()["products"][0]["media"]
    assert [each["id"] for each in listed] == [first]
    rendition = listed[0]["renditions"][0]
    assert (await fetch(rendition["url"])).status_code == 200
    assert set(rendition) == {"name", "content_type", "width", "height", "url"}
    # What edits the product otherwise leaves its pictures.
    edited = await clerk.patch("/v1/products/TEA", {"name": "Pot"}, tag=answer.headers["etag"])
    assert [each["id"] for each in edited.json()["media"]] == [first, second]
    swapped = {"media": wanted["media"][::-1]}
    answer = await put(clerk, "/v1/products/TEA/media", swapped, edited.headers["etag"])
    assert [each["id"] for each in answer.json()["media"]] == [second, first]


async def test_pictures_are_set_by_those_who_know_the_product(api: Api, clerk: User) -> None:
    await api.shop.stock(TEA=1)
    none: dict[str, Any] = {"media": []}
    assert (await put(clerk, "/v1/products/TEA/media", none, None)).status_code == 428
    stale = await put(clerk, "/v1/products/TEA/media", none, '"old"')
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_revision")
    assert (await put(clerk, "/v1/products/COFFEE/media", none, "*")).status_code == 404
    tag = (await clerk.get("/v1/products/TEA")).headers["etag"]
    assert (
        await clerk.client.request("DELETE", "/v1/products/TEA", headers=clerk.headers() | {"If-Match": tag})
    ).status_code == 204
    assert (await put(clerk, "/v1/products/TEA/media", none, "*")).status_code == 404


async def test_only_ready_media_are_pictures_of_products(api: Api, clerk: User, studio: Studio) -> None:
    await api.shop.stock(TEA=1)
    waiting = await uploaded(clerk, picture())

    async def refusal(*media: dict[str, Any]) -> tuple[int, str]:
        answer = await put(clerk, "/v1/products/TEA/media", {"media": list(media)}, "*")
        return answer.status_code, answer.json()["code"]

    assert await refusal({"media_id": waiting}) == (409, "not_ready")
    assert await refusal({"media_id": new_id()}) == (422, "unknown_media")
    assert await refusal({"media_id": waiting}, {"media_id": waiting}) == (422, "validation_error")
    assert await refusal({"media_id": waiting, "alt": "\x00"}) == (422, "validation_error")
    assert await refusal(*({"media_id": new_id()} for _ in range(21))) == (422, "validation_error")
    gone = await studio.ready(clerk.id, picture())
    await clerk.delete(f"/v1/media/{gone}")
    assert await refusal({"media_id": gone}) == (422, "unknown_media")


async def test_a_medium_that_is_shown_is_not_deleted(api: Api, clerk: User, studio: Studio) -> None:
    await api.shop.stock(TEA=1)
    media_id = await studio.ready(clerk.id, picture())
    shown = await put(clerk, "/v1/products/TEA/media", {"media": [{"media_id": media_id}]}, "*")
    refused = await clerk.delete(f"/v1/media/{media_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "media_in_use")
    assert refused.json()["facts"] == {"products": [shown.json()["id"]]}
    await put(clerk, "/v1/products/TEA/media", {"media": []}, "*")
    assert (await clerk.delete(f"/v1/media/{media_id}")).json()["state"] == "deleted"
    await clerk.post(f"/v1/media/{media_id}/restore")
    # A product that is gone shows nothing.
    await put(clerk, "/v1/products/TEA/media", {"media": [{"media_id": media_id}]}, "*")
    await api.services.products.delete("TEA", expected=None, actor="ada")
    assert (await clerk.delete(f"/v1/media/{media_id}")).status_code == 200


async def test_what_was_deleted_comes_back(clerk: User, studio: Studio) -> None:
    media_id = await studio.ready(clerk.id, picture())
    gone = (await clerk.delete(f"/v1/media/{media_id}")).json()
    assert (gone["state"], gone["kept_until"] > gone["deleted_at"]) == ("deleted", True)
    assert (await clerk.delete(f"/v1/media/{media_id}")).json() == gone
    assert (await clerk.get("/v1/media")).json()["usage"]["count"] == 1
    back = (await clerk.post(f"/v1/media/{media_id}/restore")).json()
    assert (back["state"], back["deleted_at"], back["kept_until"]) == ("ready", None, None)
    assert (await fetch(back["renditions"][0]["url"])).status_code == 200
    assert (await clerk.post(f"/v1/media/{media_id}/restore")).json()["state"] == "ready"
    assert (await clerk.get("/v1/media")).json()["usage"]["count"] == 1
    gone = (await clerk.delete(f"/v1/media/{media_id}?for_good=true")).json()
    assert gone["kept_until"] == gone["deleted_at"]
    assert (await clerk.post(f"/v1/media/{media_id}/restore")).status_code == 404
