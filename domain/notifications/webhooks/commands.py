"""Jobs of webhooks."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from domain.jobs.commands import Command
from domain.values import Id

#: Which events of a range: those that were not delivered, or all.
What = Literal["undelivered", "all"]


class SendWebhook(Command):
    """Send one event to one endpoint."""

    kind = "notifications.webhook"
    pool = "notifications"
    endpoint_id: Id
    event_id: Id


class TryWebhook(Command):
    """Send an event that has not happened, once."""

    kind = "notifications.test_webhook"
    pool = "notifications"
    endpoint_id: Id


class RedeliverWebhooks(Command):
    """Send again: some deliveries, or the events of a range that the endpoint wants."""

    kind = "notifications.redeliver_webhooks"
    pool = "notifications"
    endpoint_id: Id
    deliveries: Annotated[tuple[Id, ...], Field(max_length=100)] | None = None
    since: datetime | None = None
    until: datetime | None = None
    what: What = "undelivered"
