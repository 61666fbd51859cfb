"""Subscriptions on the wire."""

from pydantic import ConfigDict, StrictBool
from pydantic.config import JsonDict

from api.schemas.common import TIME, NextCursor, Shown, Timestamp, Wire

_SUBSCRIPTION: JsonDict = {
    "topic": "stock.back", "subject": "CHAI-1", "lasting": False, "since": TIME,
}  # fmt: skip


class Subscribe(Wire):
    """With `lasting` the account is told each time; without, once."""

    lasting: StrictBool = False

    model_config = ConfigDict(json_schema_extra={"examples": [{"lasting": True}]})


class SubscriptionView(Shown):
    """What an account waits for, and since when; when it was told last, where it lasts."""

    topic: str
    subject: str
    lasting: bool
    since: Timestamp
    told_at: Timestamp | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [_SUBSCRIPTION]})


class SubscriptionPage(Shown):
    """Subscriptions by topic and subject."""

    subscriptions: list[SubscriptionView]
    next_cursor: NextCursor
