"""Products from files, and to files."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from api.answers import accepted, json, submit
from api.deps import KEYED, Caller, IdempotencyKey, Requires
from api.errors import BadRequest
from api.openapi import problems
from api.schemas.common import JobAccepted
from api.schemas.transfers import EXPORTS, FILE, ExportView, ImportView, NewExport
from api.submission import Submission, Submits
from domain.products.commands import ExportProducts, FileForm

routes = APIRouter(prefix="/v1/products", tags=["products"])

#: Where files are sent to.
IMPORTS = "/v1/products/imports"
#: The media type of each form of file.
MEDIA_TYPES: dict[FileForm, str] = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
#: Parameters of a media type, in lower case, that name no other encoding.
_UTF_8 = re.compile(r"(?!.*charset)[^\n]*|.*charset=\"?(utf-8|us-ascii)\"?\s*(;.*)?")
_FORMS = {media_type: form for form, media_type in MEDIA_TYPES.items()}

Clerk = Annotated[Caller, Depends(Requires("catalog:write"))]
Wanted = Annotated[Submission[NewExport], Depends(Submits("catalog:write", NewExport, EXPORTS))]
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {media_type: {"schema": {"type": "string"}} for media_type in _FORMS},
    }
}


@routes.post(
    "/imports",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 413, 415, 422),
    openapi_extra=FILE | KEYED,
    summary="Import products",
)
async def import_products(request: Request, caller: Clerk, key: IdempotencyKey) -> Response:
    """Takes a CSV or NDJSON file as the body; a worker makes and edits products row by row."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    form = _FORMS.get(media_type.strip())
    if form is None or not _UTF_8.fullmatch(parameters):
        message = f"The body has to be a file in UTF-8, with Content-Type: {' or '.join(_FORMS)}."
        raise BadRequest(415, "unsupported_media_type", message)
    job = await caller.services.imports.accept(
        request.stream(), form=form, owner=caller.account_id, key=key, request_id=caller.request_id
    )
    return accepted(job, state="queued", **{"import": f"/v1/products/imports/{job.job_id}"})


@routes.get("/imports/{import_id}", response_model=ImportView, responses=problems(404), summary="One import")
async def get_import(import_id: str, caller: Clerk) -> Response:
    """How far the import is: the caller's own, or anybody's with `ops:read`."""
    return json(await caller.services.transfers.get_import(import_id, owner=caller.owner("ops:read")))


@routes.get(
    "/imports/{import_id}/refused",
    response_class=Response,
    responses=problems(404)
    | {
        200: {
            "description": "One row per line.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
    summary="The rows that an import refused",
)
async def get_refused(import_id: str, caller: Clerk) -> Response:
    """A file to be downloaded, NDJSON: the line of each row, and why it was not taken."""
    rows = await caller.services.transfers.report(import_id, owner=caller.owner("ops:read"))

    async def lines() -> AsyncIterator[bytes]:
        async for row in rows:
            yield to_json(row) + b"\n"

    return _download(lines(), name=f"import-{import_id}.ndjson", form="ndjson")


@routes.post(
    "/exports",
    status_code=202,
    response_model=JobAccepted,
    openapi_extra=KEYED,
    summary="Export products",
)
async def export_products(wanted: Wanted) -> Response:
    """A worker writes a file with one row for each SKU, which an import reads back."""
    command = ExportProducts.model_validate(wanted.body.model_dump())
    job = await submit(wanted.caller, command, key=wanted.key)
    return accepted(job, state="queued", export=f"/v1/products/exports/{job.job_id}")


@routes.get("/exports/{export_id}", response_model=ExportView, responses=problems(404), summary="One export")
async def get_export(export_id: str, caller: Clerk) -> Response:
    """How far the export is: the caller's own, or anybody's with `ops:read`."""
    return json(await caller.services.transfers.get_export(export_id, owner=caller.owner("ops:read")))


@routes.get(
    "/exports/{export_id}/file",
    response_class=Response,
    responses=problems(404, 409) | _FILES,
    summary="The file of an export",
)
async def get_file(export_id: str, caller: Clerk) -> Response:
    """The file, kept for some days after the export."""
    form, opened = await caller.services.transfers.file(export_id, owner=caller.owner("ops:read"))
    return _download(_bytes(opened), name=f"export-{export_id}.{form}", form=form)


async def _bytes(opened: AbstractAsyncContextManager[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    async with opened as parts:
        async for part in parts:
            yield part


def _download(body: AsyncIterator[bytes], *, name: str, form: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(body, media_type=MEDIA_TYPES[form], headers=headers)  # type: ignore[index]
