"""What happened to an account: to replay, or to follow."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.answers import json
from api.deps import LAST_SEQ, After, Caller, Limit, Plain, Requires
from api.openapi import problems
from api.schemas.events import EventPage
from api.stream import follow
from domain.errors import Forbidden
from domain.events.rules import SHOP, envelope

routes = APIRouter(prefix="/v1", tags=["events"])

OWN, SHOPS = ("orders:read", "ops:read"), ("inventory:read", "inventory:write", "ops:read")
Reader = Annotated[Caller, Depends(Requires(*OWN))]
Listener = Annotated[Caller, Depends(Requires(*OWN, "inventory:read", "inventory:write"))]
Of = Annotated[
    Literal["account", "shop"],
    Query(description="`shop`: what happens to stock, for those who may see stock or everybody's orders."),
]
Seq = Annotated[
    int | None, Query(ge=0, le=LAST_SEQ, description="For clients that cannot set Last-Event-ID."), Plain
]
LastEventId = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=LAST_SEQ), Plain]


@routes.get("/events", response_model=EventPage, summary="Events after a seq")
async def list_events(caller: Listener, after: After = 0, limit: Limit = 100, of: Of = "account") -> Response:
    """The account's events, oldest first: what a listener that was away has missed. Or those of the shop."""
    events, whose = caller.services.events, _whose(caller, of)
    last = await events.last(whose)
    found = await events.after(whose, after, limit=limit)
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


def _whose(caller: Caller, of: str) -> str:
    """Whose events are asked for. Raises Forbidden where the caller may not read them."""
    allowed = SHOPS if of == "shop" else OWN
    if not any(caller.principal.may(scope) for scope in allowed):
        raise Forbidden(scope=allowed[0])
    return SHOP if of == "shop" else caller.account_id
