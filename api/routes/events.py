"""What happened to an account: to replay, or to follow."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, Field

from api.answers import json
from api.cursors import CursorOf, encode
from api.deps import LAST_SEQ, After, Caller, Limit, Plain, Requires
from api.errors import invalid_field
from api.filters import Filter
from api.openapi import problems
from api.schemas.events import EventPage, TimedPage
from api.stream import follow
from domain.errors import Forbidden
from domain.events.registry import names
from domain.events.rules import SHOP, envelope, rfc3339
from domain.events.times import OLDEST, OVERLAP

#: The last millisecond that a time can have.
LAST_STAMP = 253_402_300_799_999

routes = APIRouter(prefix="/v1", tags=["events"])

OWN, SHOPS = ("orders:read", "ops:read"), ("inventory:read", "inventory:write", "ops:read")
Reader = Annotated[Caller, Depends(Requires("ops:read"))]
Listener = Annotated[Caller, Depends(Requires(*OWN, "inventory:read", "inventory:write"))]
Of = Annotated[
    Literal["account", "shop"],
    Query(description="`shop`: what happens to stock, for those who may see stock or everybody's orders."),
]
Seq = Annotated[
    int | None, Query(ge=0, le=LAST_SEQ, description="For clients that cannot set Last-Event-ID."), Plain
]
Since = Annotated[
    AwareDatetime,
    Query(
        description="Events of this time and later; at most 31 days ago.", examples=["2026-11-22T10:45:00Z"]
    ),
]
Type = Annotated[str | None, Depends(Filter("type").one_of(*names()).example("order.paid").build())]
_Stamp: TypeAlias = Annotated[int, Field(ge=0, le=LAST_STAMP)]
_Shown: TypeAlias = Annotated[str, Field(max_length=36)]
#: The time in milliseconds, and the id, of the event that was shown last.
Place = Annotated[tuple[int, str] | None, Depends(CursorOf[tuple[int, str]](tuple[_Stamp, _Shown]))]
LastEventId = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=LAST_SEQ), Plain]


@routes.get("/events", response_model=EventPage, responses=problems(409), summary="Events after a seq")
async def list_events(caller: Listener, after: After = 0, limit: Limit = 100, of: Of = "account") -> Response:
    """The account's events, oldest first: what a listener that was away has missed. Or those of the shop.

    409 `seq_ahead` where `after` is past the last `seq`.
    """
    events, whose = caller.services.events, _whose(caller, of)
    last = await events.last(whose, known=after)
    found = await events.after(whose, after, limit=limit)
    following = found[-1]["seq"] if found else after
    shown = [envelope(event) for event in found]
    return json({"events": shown, "last_seq": max(last, following if found else 0), "next_after": following})


@routes.get(
    "/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **problems(409, 503)},
    summary="Follow events (SSE)",
)
async def stream(
    request: Request,
    caller: Listener,
    last_event_id: LastEventId = None,
    after: Seq = None,
    of: Of = "account",
) -> Response:
    """Server-sent events: `id` is the `seq`, `event` the type, `data` the CloudEvents envelope.

    Resumes after `Last-Event-ID`; without one it begins with what happens next. `heartbeat` events carry
    the last `seq` that was sent. Ends when the token expires. 409 `seq_ahead` as `GET /v1/events`.
    """
    whose = _whose(caller, of)
    start = last_event_id if last_event_id is not None else after
    last = await caller.services.events.last(whose, known=start or 0)
    start = last if start is None else start
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    told = follow(request, caller, whose, start)
    return StreamingResponse(told, headers=headers, media_type="text/event-stream")


@routes.get("/ops/events", response_model=TimedPage, summary="Events of all accounts, by time")
async def list_by_time(
    caller: Reader,
    since: Since,
    kind: Type = None,
    cursor: Place = None,
    limit: Limit = 100,
) -> Response:
    """What a listener of `stockyard:events:{type}` has missed: the events of all accounts, oldest first.

    A page may have fewer events than `limit`, or none, and yet a `next_cursor`. The last page has
    `next_since` in its place: where to begin the next time. It is a little earlier than now, for an event may
    be seen some time after its own: skip by `id` what was handled.
    """
    now = caller.services.clock()
    if now - since > OLDEST:
        raise invalid_field("query", "since", kind="too_long_ago", message=f"At most {OLDEST.days} days ago.")
    since = min(since, now)
    place = (_time(cursor[0]), cursor[1]) if cursor else (since, "")
    found = await caller.services.events.times.read(place, kind=kind, limit=limit)
    body = {
        "events": [envelope(event) for event in found.events],
        "next_cursor": encode([_stamp(found.place[0]), found.place[1]]) if found.place else None,
        "next_since": None if found.place else rfc3339(max(since, now - OVERLAP)),
    }
    return json(body)


def _stamp(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _time(stamp: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=stamp)


def _whose(caller: Caller, of: str) -> str:
    """Whose events are asked for. Raises Forbidden where the caller may not read them."""
    allowed = SHOPS if of == "shop" else OWN
    if not any(caller.principal.may(scope) for scope in allowed):
        raise Forbidden(scope=allowed[0])
    return SHOP if of == "shop" else caller.account_id
