"""Webhooks that we send: endpoints, their secrets, and the log of deliveries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import TypeAdapter

from api.answers import accepted, page, submit
from api.body import JsonBody
from api.deps import KEYED, Caller, IdCursor, IdempotencyKey, Limit, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.filters import Filter
from api.openapi import problems
from api.ops_acts import entry_of
from api.schemas.common import JobAccepted
from api.schemas.webhooks import (
    AttemptView,
    DeliveryPage,
    DeliveryView,
    EndpointEdit,
    EndpointPage,
    EndpointView,
    MadeEndpointView,
    NewEndpoint,
    OneDeliveryView,
    SecretRotation,
    WantedDeliveries,
)
from domain.changes import Doc
from domain.events.rules import SHOP
from domain.notifications.webhooks.commands import RedeliverWebhooks, TryWebhook
from domain.notifications.webhooks.rules import DELIVERY_STATES
from domain.notifications.webhooks.service import Webhooks
from domain.values import Duration

routes = APIRouter(prefix="/v1/webhooks/endpoints", tags=["webhooks"])

OWN, SHOPS = "webhooks:write", "webhooks:manage"
Manager = Annotated[Caller, Depends(Requires(OWN, SHOPS))]
Of = Annotated[
    Literal["account", "shop"],
    Query(description="`shop`: its own events and those of all accounts, for those with `webhooks:manage`."),
]
State = Annotated[str | None, Depends(Filter("state").one_of(*DELIVERY_STATES).build())]
_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


@routes.post(
    "", status_code=201, response_model=MadeEndpointView, responses=problems(409), summary="Add an endpoint"
)
async def create_endpoint(
    caller: Manager, wanted: Annotated[NewEndpoint, Depends(JsonBody(NewEndpoint))], of: Of = "account"
) -> Response:
    """The endpoint with its secret, which is shown this once. A repetition is 409 `webhook_exists`.

    Whoever lost the answer rotates the secret, or deletes the endpoint that the 409 names.
    """
    owner = _whose(caller, of)
    async with _acting(caller, owner, "webhook.create", wanted.url):
        made = await _webhooks(caller).endpoints.create(owner, **wanted.model_dump())
    where = {"Location": f"{routes.prefix}/{made['_id']}"}
    return tagged(_made(made), made["revision"], 201, where)


@routes.get("", summary="List endpoints")
async def list_endpoints(
    caller: Manager, limit: Limit = 50, cursor: IdCursor = None, of: Of = "account"
) -> EndpointPage:
    """The account's endpoints, or the shop's, oldest first."""
    rows = await _webhooks(caller).endpoints.page(_whose(caller, of), after=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda row: str(row["_id"]))
    return EndpointPage(endpoints=[_view(row) for row in shown], next_cursor=following)


@routes.get("/{endpoint_id}", response_model=EndpointView, responses=problems(404), summary="One endpoint")
async def get_endpoint(endpoint_id: str, caller: Manager) -> Response:
    """The endpoint, with the `ETag` that an edit needs: an own one, or any with `webhooks:manage`."""
    return _tagged(await _webhooks(caller).endpoints.get(endpoint_id, owner=caller.owner(SHOPS)))


@routes.patch(
    "/{endpoint_id}",
    response_model=EndpointView,
    openapi_extra=CONDITIONAL,
    responses=problems(400, 404, 409, 412, 428),
    summary="Edit an endpoint",
)
async def edit_endpoint(
    endpoint_id: str,
    caller: Manager,
    expected: IfMatch,
    form: Annotated[EndpointEdit, Depends(JsonBody(EndpointEdit))],
) -> Response:
    """URL, description, events, and whether it is enabled. Enabling it forgets what has failed."""
    endpoints, owner = _webhooks(caller).endpoints, caller.owner(SHOPS)
    known = await endpoints.get(endpoint_id, owner=owner)
    async with _acting(caller, known["account_id"], "webhook.edit", endpoint_id):
        changed = await endpoints.change(endpoint_id, form.fields(), owner=owner, expected=expected)
    return _tagged(changed)


@routes.delete("/{endpoint_id}", status_code=204, responses=problems(404), summary="Delete an endpoint")
async def delete_endpoint(endpoint_id: str, caller: Manager) -> Response:
    """Nothing is sent to it any more. A second time it is not found."""
    endpoints, owner = _webhooks(caller).endpoints, caller.owner(SHOPS)
    known = await endpoints.get(endpoint_id, owner=owner)
    async with _acting(caller, known["account_id"], "webhook.delete", endpoint_id):
        await endpoints.delete(endpoint_id, owner=owner)
    return Response(status_code=204)


@routes.post(
    "/{endpoint_id}/rotate-secret",
    response_model=MadeEndpointView,
    responses=problems(404, 409),
    summary="Rotate an endpoint's secret",
)
async def rotate_secret(
    endpoint_id: str,
    caller: Manager,
    wanted: Annotated[SecretRotation, Depends(JsonBody(SecretRotation, required=False))],
) -> Response:
    """A new secret, shown this once; the old one signs as well for `overlap`.

    Not to be repeated blindly: each request makes another secret, while the older ones go on signing.
    """
    endpoints, owner = _webhooks(caller).endpoints, caller.owner(SHOPS)
    known = await endpoints.get(endpoint_id, owner=owner)
    overlap = None if wanted.overlap is None else _DURATION.validate_python(wanted.overlap)
    async with _acting(caller, known["account_id"], "webhook.rotate_secret", endpoint_id):
        made = await endpoints.rotate(endpoint_id, owner=owner, overlap=overlap)
    return tagged(_made(made), made["revision"])


@routes.post(
    "/{endpoint_id}/test",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404),
    openapi_extra=KEYED,
    summary="Send a test event",
)
async def test_endpoint(endpoint_id: str, caller: Manager, key: IdempotencyKey) -> Response:
    """A job sends `webhook.test` once, also to a disabled endpoint. Its result has the status."""
    await _webhooks(caller).endpoints.get(endpoint_id, owner=caller.owner(SHOPS))
    job = await submit(caller, TryWebhook(endpoint_id=endpoint_id), key=key, subject=endpoint_id)
    delivery = f"{routes.prefix}/{endpoint_id}/deliveries/{job.job_id}"
    return accepted(job, state="queued", delivery=delivery)


@routes.post(
    "/{endpoint_id}/redeliver",
    status_code=202,
    response_model=JobAccepted,
    responses=problems(400, 404),
    openapi_extra=KEYED,
    summary="Send again",
)
async def redeliver(
    endpoint_id: str,
    caller: Manager,
    key: IdempotencyKey,
    wanted: Annotated[WantedDeliveries, Depends(JsonBody(WantedDeliveries))],
) -> Response:
    """A job sends some deliveries again, or the events of a stretch of time; not what is on its way."""
    await _webhooks(caller).endpoints.get(endpoint_id, owner=caller.owner(SHOPS))
    command = RedeliverWebhooks.model_validate({"endpoint_id": endpoint_id, **wanted.model_dump()})
    job = await submit(caller, command, key=key, subject=endpoint_id)
    return accepted(job, state="queued", deliveries=f"{routes.prefix}/{endpoint_id}/deliveries")


@routes.get("/{endpoint_id}/deliveries", responses=problems(404), summary="The log of deliveries")
async def list_deliveries(
    endpoint_id: str, caller: Manager, limit: Limit = 50, cursor: IdCursor = None, state: State = None
) -> DeliveryPage:
    """The endpoint's deliveries, newest first, from their first attempt on."""
    await _webhooks(caller).endpoints.get(endpoint_id, owner=caller.owner(SHOPS))
    rows = await _webhooks(caller).log.page(endpoint_id, state=state, before=cursor, limit=limit + 1)
    shown, following = page(rows, limit, lambda row: str(row["_id"]))
    return DeliveryPage(deliveries=[_delivery(row) for row in shown], next_cursor=following)


@routes.get("/{endpoint_id}/deliveries/{delivery_id}", responses=problems(404), summary="One delivery")
async def get_delivery(endpoint_id: str, delivery_id: str, caller: Manager) -> OneDeliveryView:
    """The delivery with its attempts."""
    await _webhooks(caller).endpoints.get(endpoint_id, owner=caller.owner(SHOPS))
    row = await _webhooks(caller).log.get(delivery_id, endpoint_id=endpoint_id)
    attempts = [
        AttemptView.model_validate({**each, "ms": round(each["seconds"] * 1000)}, extra="ignore")
        for each in row["attempts"]
    ]
    return OneDeliveryView(**_delivery(row).model_dump(), attempts=attempts)


def _webhooks(caller: Caller) -> Webhooks:
    return caller.services.webhooks


def _whose(caller: Caller, of: str) -> str:
    """Whose endpoints are asked for. Raises Forbidden where the caller may not have such."""
    caller.principal.require(SHOPS if of == "shop" else OWN)
    return SHOP if of == "shop" else caller.account_id


@asynccontextmanager
async def _acting(caller: Caller, owner: str, action: str, thing_id: str) -> AsyncIterator[None]:
    """Puts into the audit log what is done to endpoints that are not the caller's own."""
    if owner == caller.account_id:
        yield
        return
    async with caller.services.audit_log.acting(entry_of(caller, action, "webhook", thing_id)):
        yield


def _view(row: Doc) -> EndpointView:
    facts = {
        "id": row["_id"],
        "of": "shop" if row["account_id"] == SHOP else "account",
        "failing_since": row.get("failing_since"),
        "old_secrets_until": [each["until"] for each in row["old_secrets"]],
    }
    return EndpointView.model_validate({**row, **facts}, extra="ignore")


def _tagged(row: Doc) -> Response:
    return tagged(_view(row), row["revision"])


def _made(row: Doc) -> MadeEndpointView:
    return MadeEndpointView(**_view(row).model_dump(), secret=row["secret"])


def _delivery(row: Doc) -> DeliveryView:
    return DeliveryView.model_validate({**row, "id": row["_id"]}, extra="ignore")
