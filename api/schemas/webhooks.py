"""Webhooks that we send, on the wire."""

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from api.schemas.common import ID, TIME, NextCursor, Shown, Timestamp, Wire
from domain.notifications.webhooks.commands import What
from domain.values import Id, Text

Url = Annotated[str, Field(min_length=1, max_length=2000)]
Description = Annotated[Text, Field(max_length=200)]
Wanted = Annotated[str, Field(max_length=100, pattern=r"^(\*|[a-z_]+\.(\*|[a-z_]+))$")]
Events = Annotated[
    list[Wanted],
    Field(min_length=1, max_length=100, description="Types, families such as `order.*`, or `*` for all."),
]
Enabled = Annotated[bool, Field(strict=True)]
Overlap = Annotated[str, Field(pattern=r"^[0-9]{1,9}(ms|s|m|h|d)$")]
Moment = Annotated[AwareDatetime, Field(strict=True)]

_ENDPOINT: JsonDict = {
    "id": ID, "of": "account", "url": "https://shop.example/hooks", "description": "warehouse",
    "events": ["order.*"], "enabled": False, "disabled_for": "failing", "disabled_at": TIME, "failures": 14,
    "failing_since": TIME, "old_secrets_until": [TIME], "created_at": TIME,
}  # fmt: skip
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwnPq2vO8Zc1E="  # noqa: S105 - an example
_DELIVERY: JsonDict = {
    "id": ID, "event_id": ID, "type": "order.paid", "subject": ID, "state": "pending", "tries": 1,
    "next_at": TIME, "created_at": TIME,
}  # fmt: skip
_ATTEMPT: JsonDict = {"at": TIME, "ms": 312, "status": 503, "body": "down for maintenance"}


class NewEndpoint(Wire):
    """Where events are to be sent to."""

    url: Url
    description: Description | None = None
    events: Events = Field(default=["*"])
    enabled: Enabled = True

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://shop.example/hooks", "description": "warehouse", "events": ["order.*"]}
            ]
        }
    )


class EndpointEdit(Wire):
    """What is to change; what is left out stays. Enabling forgets what has failed."""

    url: Url | None = None
    description: Description | None = None
    events: Events | None = None
    enabled: Enabled | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}], "minProperties": 1})

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.fields():
            raise ValueError("an edit changes something")
        nothing = sorted(name for name, value in self.fields().items() if value is None)
        if nothing not in ([], ["description"]):
            raise ValueError("only a description can be taken away")
        return self

    def fields(self) -> dict[str, Any]:
        """What was sent."""
        return self.model_dump(exclude_unset=True)


class SecretRotation(Wire):
    """How long the old secret signs as well, such as 24h."""

    overlap: Overlap | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": "24h"}]})


class WantedDeliveries(Wire):
    """Some deliveries by their ids; or, with `since`, the events of a stretch of time."""

    deliveries: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None
    since: Moment | None = None
    until: Moment | None = None
    what: What = "undelivered"

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"deliveries": [ID]}, {"since": TIME, "what": "all"}],
        }
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.deliveries is None) == (self.since is None):
            raise ValueError("deliveries, or since")
        if self.deliveries is not None and self.model_fields_set - {"deliveries"}:
            raise ValueError("until and what go with since")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until is after since")
        return self


class EndpointView(Shown):
    """Where events are sent to. `disabled_for` is `by_owner`, `failing` or `gone`."""

    id: str
    of: Literal["account", "shop"]
    url: str
    description: str | None
    events: list[str]
    enabled: bool
    disabled_for: str | None
    disabled_at: Timestamp | None
    failures: Annotated[int, Field(description="Failed attempts without a success between them.")]
    failing_since: Timestamp | None
    old_secrets_until: Annotated[list[Timestamp], Field(description="Until when replaced secrets sign.")]
    created_at: Timestamp

    model_config = ConfigDict(json_schema_extra={"examples": [_ENDPOINT]})


class MadeEndpointView(EndpointView):
    """An endpoint with its secret: shown here, and never again."""

    secret: str

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ENDPOINT, "secret": _SECRET}]})


class EndpointPage(Shown):
    """Endpoints, oldest first."""

    endpoints: list[EndpointView]
    next_cursor: NextCursor


class DeliveryView(Shown):
    """One event on its way to one endpoint. `id` is its job's; `tries` counts attempts."""

    id: str
    event_id: str
    type: str
    subject: str
    state: Literal["pending", "delivered", "failed"]
    tries: int
    next_at: Annotated[Timestamp | None, Field(description="When the next attempt is due.")]
    created_at: Timestamp

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})


class AttemptView(Shown):
    """One call. Without an answer there is no `status`, and `error` says why."""

    at: Timestamp
    ms: int
    status: int | None = None
    error: str | None = None
    body: Annotated[str, Field(description="The answer's first characters.")]


class OneDeliveryView(DeliveryView):
    """A delivery with its latest 50 attempts, oldest first."""

    attempts: list[AttemptView]

    model_config = ConfigDict(json_schema_extra={"examples": [{**_DELIVERY, "attempts": [_ATTEMPT]}]})


class DeliveryPage(Shown):
    """Deliveries, newest first."""

    deliveries: list[DeliveryView]
    next_cursor: NextCursor
