"""API keys: for programs that act for an account."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import TypeAdapter

from api.answers import page
from api.body import JsonBody
from api.deps import Authenticated, Caller, IdCursor, Limit
from api.openapi import problems
from api.schemas.keys import KeyPage, KeyRotation, KeyView, MadeKeyView, NewKey
from domain.accounts.api_keys import MadeKey
from domain.changes import Doc
from domain.values import Duration

routes = APIRouter(prefix="/v1/keys", tags=["accounts"])

_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)

Person = Annotated[Caller, Depends(Authenticated(session=True))]


@routes.post("", status_code=201, responses=problems(409), summary="Make an API key")
async def create_key(caller: Person, wanted: Annotated[NewKey, Depends(JsonBody(NewKey))]) -> MadeKeyView:
    """The key, which is shown this once. Not to be repeated blindly: each request makes another key."""
    made = await caller.services.accounts.keys.create(
        caller.principal,
        name=wanted.name,
        scopes=wanted.scopes,
        expires_at=wanted.expires_at,
        rate_limit=wanted.rate_limit,
    )
    return _made(made)


@routes.get("", summary="List API keys")
async def list_keys(caller: Person, limit: Limit = 50, cursor: IdCursor = None) -> KeyPage:
    """The account's keys, newest first, with those that have ended."""
    rows = await caller.services.accounts.keys.page(caller.account_id, after=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda row: str(row["_id"]))
    return KeyPage(keys=[_view(row) for row in shown], next_cursor=following)


@routes.get("/{key_id}", responses=problems(404), summary="One API key")
async def get_key(key_id: str, caller: Person) -> KeyView:
    """What the key may do, and when it was last used."""
    return _view(await caller.services.accounts.keys.get(key_id, account_id=caller.account_id))


@routes.post("/{key_id}/rotate", status_code=201, responses=problems(404, 409), summary="Rotate an API key")
async def rotate_key(
    key_id: str, caller: Person, wanted: Annotated[KeyRotation, Depends(JsonBody(KeyRotation))]
) -> MadeKeyView:
    """A new key in place of the old one, which works on for `overlap`. A key is rotated once."""
    overlap = _DURATION.validate_python(wanted.overlap)
    made = await caller.services.accounts.keys.rotate(
        key_id, account_id=caller.account_id, overlap=overlap, expires_at=wanted.expires_at
    )
    return _made(made)


@routes.delete("/{key_id}", status_code=204, responses=problems(404), summary="Revoke an API key")
async def revoke_key(key_id: str, caller: Person) -> Response:
    """Refused everywhere from now on. Idempotent."""
    await caller.services.accounts.keys.revoke(key_id, account_id=caller.account_id)
    return Response(status_code=204)


def _view(row: Doc) -> KeyView:
    return KeyView.model_validate({**row, "id": row["_id"]}, extra="ignore")


def _made(made: MadeKey) -> MadeKeyView:
    return MadeKeyView(**_view(made.row).model_dump(), key=made.secret)
