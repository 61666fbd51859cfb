"""Pictures: their bytes go straight to the object store; here is where to, and what became of them."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.answers import accepted, json, page
from api.body import JsonBody
from api.deps import KEYED, Caller, IdCursor, IdempotencyKey, Limit, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.schemas.common import JobAccepted
from api.schemas.media import (
    LINKS,
    PARTS,
    PICTURES,
    UPLOADS,
    AddressView,
    Completion,
    LinkView,
    MediaPage,
    MediaState,
    MediumView,
    NewLink,
    NewUpload,
    UploadView,
)
from api.schemas.products import ProductView
from domain.errors import Forbidden
from domain.events.rules import rfc3339
from domain.media.attachments import ProductPictures
from domain.media.uploads import Address
from domain.products.rules import view
from domain.values import Id

routes = APIRouter(prefix="/v1", tags=["media"])

Uploader = Annotated[Caller, Depends(Requires("media:write"))]
#: Who sends pictures sees and deletes their own; who edits the catalogue, everybody's.
Viewer = Annotated[Caller, Depends(Requires("media:write", "catalog:write", "ops:read"))]
Clerk = Annotated[Caller, Depends(Requires("catalog:write"))]
Told = Annotated[Completion, Depends(JsonBody(Completion, PARTS, required=False))]


@routes.post(
    "/media/uploads",
    status_code=201,
    response_model=UploadView,
    responses=problems(409),
    summary="Announce an upload",
)
async def begin_upload(
    caller: Uploader, form: Annotated[NewUpload, Depends(JsonBody(NewUpload, UPLOADS))]
) -> Response:
    """A medium, and where its bytes go. Each call makes one; what is not used goes by itself after a day."""
    medium, address = await caller.services.media.uploads.begin(
        caller.account_id, name=form.name, size=form.size, content_type=form.content_type
    )
    body = {"id": medium["_id"], "state": medium["state"], "upload": _address(address)}
    return json(body, 201, {"Location": f"/v1/media/{medium['_id']}"})


@routes.get(
    "/media/{media_id}/upload",
    response_model=AddressView,
    responses=problems(404, 409),
    summary="A fresh address for an upload",
)
async def get_address(media_id: str, caller: Uploader) -> Response:
    """Where the bytes go, once more: an address is good for some minutes."""
    return json(_address(await caller.services.media.uploads.address(media_id, owner=caller.account_id)))


@routes.post(
    "/media/{media_id}/complete",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(404, 409),
    openapi_extra=KEYED,
    summary="Say that an upload is there",
)
async def complete_upload(media_id: str, caller: Uploader, key: IdempotencyKey, told: Told) -> Response:
    """A worker looks at the bytes and makes renditions. Of an upload in parts, the body has their ETags."""
    job = await caller.services.media.uploads.complete(
        media_id,
        owner=caller.account_id,
        key=key,
        etags=told.etags,
        request_id=caller.request_id,
    )
    return accepted(job, state="processing", medium=f"/v1/media/{media_id}")


@routes.get("/media", response_model=MediaPage, responses=problems(403), summary="An account's media")
async def list_media(
    caller: Viewer,
    state: MediaState | None = None,
    account: Annotated[
        Id | None, Query(description="Another account: needs `catalog:write` or `ops:read`.")
    ] = None,
    limit: Limit = 50,
    cursor: IdCursor = None,
) -> Response:
    """Newest first, with what the account has and has room for."""
    whose = account or caller.account_id
    if _reach(caller) not in {None, whose}:
        raise Forbidden(scope="catalog:write")
    library = caller.services.media.library
    rows = await library.find(whose, state=state, before=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda medium: medium["_id"])
    media = await caller.services.media.delivery.media(shown)
    return json({"media": media, "usage": await library.usage(whose), "next_cursor": following})


@routes.get("/media/{media_id}", response_model=MediumView, responses=problems(404), summary="One medium")
async def get_medium(media_id: str, caller: Viewer) -> Response:
    """Its state, why it failed if it did, and its renditions with their addresses."""
    return await _shown(caller, await caller.services.media.library.get(media_id, owner=_reach(caller)))


@routes.post(
    "/media/{media_id}/links",
    response_model=LinkView,
    responses=problems(404, 409),
    summary="A signed address of the original",
)
async def make_link(
    media_id: str, caller: Viewer, form: Annotated[NewLink, Depends(JsonBody(NewLink, LINKS, required=False))]
) -> Response:
    """Whoever has the address reads the original until it ends. Nothing is kept of it."""
    medium = await caller.services.media.library.get(media_id, owner=_reach(caller))
    lasts = timedelta(seconds=form.seconds) if form.seconds else None
    link = await caller.services.media.delivery.link(
        medium, lasts=lasts, since=form.starts_at, network=form.network
    )
    return json({"url": link.url, "expires_at": rfc3339(link.expires_at)})


@routes.delete(
    "/media/{media_id}", response_model=MediumView, responses=problems(404, 409), summary="Delete a medium"
)
async def delete_medium(
    media_id: str,
    caller: Uploader,
    *,
    for_good: Annotated[
        bool, Query(description="Do not keep it, and give its room back within minutes.")
    ] = False,
) -> Response:
    """Gone for good at `kept_until`, and not before. Refused while a product shows it. Idempotent."""
    library, owner = caller.services.media.library, caller.owner("catalog:write")
    return await _shown(caller, await library.delete(media_id, owner=owner, for_good=for_good))


@routes.post(
    "/media/{media_id}/restore",
    response_model=MediumView,
    responses=problems(404),
    summary="Bring a deleted medium back",
)
async def restore_medium(media_id: str, caller: Uploader) -> Response:
    """As it was when it was deleted. One that is not deleted stays as it is, so it can be sent again."""
    return await _shown(
        caller, await caller.services.media.library.restore(media_id, owner=caller.owner("catalog:write"))
    )


@routes.put(
    "/products/{ref}/media",
    response_model=ProductView,
    openapi_extra=CONDITIONAL,
    responses=problems(400, 404, 409, 412, 428),
    summary="Set a product's pictures",
)
async def set_pictures(
    ref: str,
    caller: Clerk,
    expected: IfMatch,
    wanted: Annotated[ProductPictures, Depends(JsonBody(ProductPictures, PICTURES))],
) -> Response:
    """The product with these pictures, in this order, and no others. They have to be `ready`."""
    services = caller.services
    product = await services.media.attachments.set(ref, wanted, expected=expected, actor=caller.account_id)
    (shown,) = await services.media.delivery.products([view(product, editor=True)])
    return tagged(shown, product["revision"])


def _reach(caller: Caller) -> str | None:
    """Whose media the caller sees; None for everybody's, as for who edits the catalogue."""
    return None if caller.principal.may("catalog:write") else caller.owner("ops:read")


async def _shown(caller: Caller, medium: dict[str, Any]) -> Response:
    (shown,) = await caller.services.media.delivery.media([medium])
    return json(shown)


def _address(address: Address) -> dict[str, Any]:
    expires_at = rfc3339(address.expires_at)
    if address.parts:
        return {"method": "PUT", "expires_at": expires_at, "parts": list(address.parts)}
    return {"method": "POST", "expires_at": expires_at, "url": address.url, "fields": address.fields}
