"""An account's inbox, and what reaches it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import json
from api.body import JsonBody
from api.cursors import CursorOf, encode
from api.deps import Authenticated, Caller, Limit, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.schemas.inbox import InboxPage, PreferencesEdit, PreferencesView, ReadMark, UnreadView
from domain.events.rules import rfc3339
from domain.notifications.inbox import Entry
from domain.notifications.notices import KINDS, notice
from domain.notifications.preferences import Chosen
from domain.notifications.rules import by_default, is_fixed, wanted

routes = APIRouter(prefix="/v1", tags=["notifications"])

Reader = Annotated[Caller, Depends(Requires("orders:read", "ops:read"))]
#: The `seq` that the page before has ended at.
Before = Annotated[int | None, Depends(CursorOf[int](int))]
OnlyUnread = Annotated[bool, Query(description="Only what is not read.")]


@routes.get("/inbox", response_model=InboxPage, summary="The inbox")
async def get_inbox(
    caller: Reader, limit: Limit = 50, cursor: Before = None, *, unread: OnlyUnread = False
) -> Response:
    """The account's events that its preferences let into the inbox, newest first, in words."""
    entries, following = await caller.services.inbox.page(
        caller.account_id, before=cursor, limit=limit, unread=unread
    )
    shown = [_view(entry) for entry in entries]
    return json({"entries": shown, "next_cursor": None if following is None else encode(following)})


@routes.get("/inbox/unread", response_model=UnreadView, summary="Count what is unread")
async def count_unread(caller: Reader) -> Response:
    """How many entries are not read."""
    found = await caller.services.inbox.unread(caller.account_id)
    return json({"unread": found.count, "more": found.more})


@routes.post("/inbox/read", status_code=204, summary="Mark as read")
async def mark_read(caller: Reader, marked: Annotated[ReadMark, Depends(JsonBody(ReadMark))]) -> Response:
    """One entry, several, or all up to a `seq`. A repetition changes nothing."""
    await caller.services.inbox.read(caller.account_id, seqs=marked.seqs or (), upto=marked.upto or 0)
    return Response(status_code=204)


@routes.get("/me/preferences", response_model=PreferencesView, summary="What reaches the account")
async def get_preferences(caller: Annotated[Caller, Depends(Authenticated())]) -> Response:
    """What was chosen, with the `ETag` that changing it asks for, and what comes of it."""
    return _shown(await caller.services.preferences.of(caller.account_id))


@routes.put(
    "/me/preferences",
    response_model=PreferencesView,
    responses=problems(400, 412, 428),
    openapi_extra=CONDITIONAL,
    summary="Choose what reaches the account",
)
async def put_preferences(
    caller: Annotated[Caller, Depends(Authenticated(session=True))],
    expected: IfMatch,
    edit: Annotated[PreferencesEdit, Depends(JsonBody(PreferencesEdit))],
) -> Response:
    """Replaces all that was chosen. Mail about the account's security cannot be switched off."""
    choices = {name: chosen.model_dump(exclude_none=True) for name, chosen in edit.preferences.items()}
    return _shown(await caller.services.preferences.replace(caller.account_id, choices, expected=expected))


def _view(entry: Entry) -> dict[str, object]:
    event, told = entry.event, notice(entry.event)
    return {
        "seq": event["seq"],
        "id": event["_id"],
        "type": event["type"],
        "subject": event["subject"],
        "time": rfc3339(event["time"]),
        "title": told.title,
        "text": told.text,
        "read": entry.read,
        "data": event["data"],
    }


def _shown(chosen: Chosen) -> Response:
    types = [
        {
            "type": name,
            "inbox": wanted(chosen.choices, name, "inbox"),
            "mail": None if by_default(kind, "mail") is None else wanted(chosen.choices, name, "mail"),
            "always": is_fixed(kind, "mail"),
        }
        for name, kind in sorted(KINDS.items())
    ]
    return tagged({"preferences": chosen.choices, "types": types}, chosen.revision)
