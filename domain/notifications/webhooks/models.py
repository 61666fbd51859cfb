"""What is stored of webhooks: endpoints, and the log of deliveries."""

from datetime import datetime
from typing import Any

from beanie import Document
from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

ENDPOINTS = "webhook_endpoints"
DELIVERIES = "webhook_deliveries"
MARKS = "webhook_marks"
#: The one mark: made anew by every change of what is sent where.
MARK = "endpoints"


class WebhookEndpoint(Document):
    """Where events of an account, or of the whole shop, are sent to."""

    id: str  # type: ignore[assignment]  # a UUIDv7 of ours, not an ObjectId
    #: The account's id, or SHOP.
    account_id: str
    url: str
    description: str | None
    #: Types, families such as `order.*`, or `*`.
    events: list[str]
    enabled: bool
    #: Why it is not, and since when.
    disabled_for: str | None = None
    disabled_at: datetime | None = None
    secret: str = Field(repr=False)
    #: Those it has replaced, newest first: `secret`, and `until` when it signs.
    old_secrets: list[dict[str, Any]] = Field(default=[], repr=False)
    #: Attempts that failed without a success between them, and when the first of them did; that is not there
    #: while there is none.
    failures: int = 0
    failing_since: datetime | None = None
    #: The batch of attempts that was counted last.
    counted: str | None = None
    created_at: datetime
    #: Made anew by every change of its owner.
    revision: str

    class Settings:
        """Where, and how those of an owner are found."""

        name = ENDPOINTS
        indexes = (IndexModel([("account_id", ASCENDING), ("_id", ASCENDING)], name="by_owner"),)


class WebhookDelivery(Document):
    """One event on its way to one endpoint, from the first attempt on. Its id is the job's."""

    id: str  # type: ignore[assignment]
    endpoint_id: str
    event_id: str
    type: str
    subject: str
    state: str
    #: Of this round: a replayed job begins anew.
    tries: int
    #: The latest: `id`, `at`, `seconds`, `status`, `error`, `body`.
    attempts: list[dict[str, Any]]
    next_at: datetime | None
    created_at: datetime

    class Settings:
        """Where, and the ways it is read: by endpoint, the same by state, and what is old."""

        name = DELIVERIES
        indexes = (
            IndexModel([("endpoint_id", ASCENDING), ("_id", DESCENDING)], name="by_endpoint"),
            IndexModel(
                [("endpoint_id", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)], name="by_state"
            ),
            IndexModel([("created_at", ASCENDING)], name="to_sweep"),
        )


class WebhookMark(Document):
    """Says whether a process knows the endpoints as they are."""

    id: str  # type: ignore[assignment]
    revision: str

    class Settings:
        """Where."""

        name = MARKS
