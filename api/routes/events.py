"""What happened to an account: to replay, or to follow."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.answers import json
from api.deps import LAST_SEQ, After, Caller, Limit, Requires
from api.openapi import problems
from api.schemas.events import EventPage
from api.stream import follow
from domain.events.rules import envelope

routes = APIRouter(prefix="/v1", tags=["events"])

Reader = Annotated[Caller, Depends(Requires("orders:read", "ops:read"))]
Seq = Annotated[
    int | None, Query(ge=0, le=LAST_SEQ, description="For clients that cannot set Last-Event-ID.")
]
LastEventId = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=LAST_SEQ)]


@routes.get("/events", response_model=EventPage, summary="Events after a seq")
async def list_events(caller: Reader, after: After = 0, limit: Limit = 100) -> Response:
    """The account's events, oldest first: what a listener that was away has missed."""
    events = caller.services.events
    last = await events.last(caller.account_id)
    found = await events.after(caller.account_id, after, limit=limit)
    following = found[-1]["seq"] if found else after
    shown = [envelope(event) for event in found]
    return json({"events": shown, "last_seq": max(last, following if found else 0), "next_after": following})


@routes.get(
    "/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **problems(503)},
    summary="Follow events (SSE)",
)
async def stream(
    request: Request, caller: Reader, last_event_id: LastEventId = None, after: Seq = None
) -> Response:
    """Server-sent events: `id` is the `seq`, `event` the type, `data` the CloudEvents envelope.

    Resumes after `Last-Event-ID`; without one it begins with what happens next. `heartbeat` events carry
    the account's last `seq`. Ends when the token expires.
    """
    start = last_event_id if last_event_id is not None else after
    if start is None:
        start = await caller.services.events.last(caller.account_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(request, caller, start), headers=headers, media_type="text/event-stream")
