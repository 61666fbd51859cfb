"""What payment providers tell: signed, stored, and handled by a job."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

from api.answers import json
from api.body import JsonBody
from api.deps import PUBLIC, Public
from api.openapi import problems
from api.schemas.payments import PaymentEvent, Taken
from domain.bootstrap import Services
from domain.errors import NotFound, WebhookRefused
from domain.jobs.rules import SYSTEM
from domain.observe import logger

log = logger(__name__)

routes = APIRouter(prefix="/v1/payments", tags=["orders"])

_ID = re.compile(r"[\x21-\x7e]{1,150}")
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


async def _signed(provider: str, request: Request, services: Public) -> str:
    """The webhook's id, once one of the secrets has signed the call. Raises NotFound and WebhookRefused."""
    settings = services.settings.payments
    if provider != settings.provider:
        raise NotFound(provider=provider)
    headers = {name: request.headers.get(name, "") for name in _HEADERS}
    body = await request.body()
    if not any(_verifies(each.get_secret_value(), body, headers) for each in settings.webhook_secrets):
        log.warning("a webhook was refused", provider=provider, secrets=len(settings.webhook_secrets))
        raise WebhookRefused
    return headers["webhook-id"]


def _verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Signature, and time within five minutes."""
    if not _ID.fullmatch(headers["webhook-id"]):
        return False
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


@routes.post(
    "/webhooks/{provider}",
    status_code=202,
    response_model=Taken,
    responses=problems(401, 404),
    openapi_extra=PUBLIC,
    summary="Take a payment provider's webhook",
)
async def take_webhook(
    provider: str,
    webhook_id: Annotated[str, Depends(_signed)],
    event: Annotated[PaymentEvent, Depends(JsonBody(PaymentEvent))],
    services: Public,
    request: Request,
) -> Response:
    """Stores what the provider tells; a job makes it true. One `webhook-id` is one job, however often sent.

    Signed by the Standard Webhooks form: `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    """
    return json(
        {"taken": await _take(services, provider, webhook_id, event, request.scope["request_id"])}, 202
    )


async def _take(
    services: Services, provider: str, webhook_id: str, event: PaymentEvent, request_id: str
) -> bool:
    notice = event.notice(provider)
    if notice is None:
        return False
    key = f"{provider}:{webhook_id}"
    await services.jobs.submit(
        notice, owner=SYSTEM, key=key, request_id=request_id, subject=notice.order_id or notice.payment_id
    )
    return True
