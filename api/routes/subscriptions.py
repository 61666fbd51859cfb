"""What an account asks to be told of."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.answers import page
from api.body import JsonBody
from api.deps import Caller, Cursor, Limit, Requires
from api.openapi import problems
from api.schemas.subscriptions import Subscribe, SubscriptionPage, SubscriptionView
from domain.changes import Doc
from domain.values import Sku

routes = APIRouter(prefix="/v1/subscriptions", tags=["notifications"])

Reader = Annotated[Caller, Depends(Requires("orders:read"))]
Writer = Annotated[Caller, Depends(Requires("orders:write"))]
Topic = Annotated[str, Path(max_length=100, description="`stock.back`.")]
Subject = Annotated[Sku, Path(description="The SKU.")]


@routes.get("", summary="List subscriptions")
async def list_subscriptions(caller: Reader, limit: Limit = 50, cursor: Cursor = None) -> SubscriptionPage:
    """What the account waits for, by topic and subject."""
    rows = await caller.services.subscriptions.page(caller.account_id, after=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda row: str(row["watch"]))
    return SubscriptionPage(subscriptions=[_view(row) for row in shown], next_cursor=following)


@routes.put("/{topic}/{subject}", responses=problems(404, 409), summary="Subscribe")
async def subscribe(
    topic: Topic,
    subject: Subject,
    caller: Writer,
    wanted: Annotated[Subscribe, Depends(JsonBody(Subscribe, required=False))],
) -> SubscriptionView:
    """The account is told when it happens next. A repetition changes nothing but `lasting`."""
    row, _ = await caller.services.subscriptions.subscribe(
        caller.account_id, topic=topic, subject=subject, lasting=wanted.lasting
    )
    return _view(row)


@routes.delete("/{topic}/{subject}", status_code=204, responses=problems(404), summary="Unsubscribe")
async def unsubscribe(topic: Topic, subject: Subject, caller: Writer) -> Response:
    """The account is not told. Once it is ended, it changes nothing."""
    await caller.services.subscriptions.unsubscribe(caller.account_id, topic=topic, subject=subject)
    return Response(status_code=204)


def _view(row: Doc) -> SubscriptionView:
    return SubscriptionView.model_validate(row, extra="ignore")
