"""What is stored of inboxes, preferences, subscriptions and fan-outs."""

from datetime import datetime
from typing import Any

from beanie import Document
from pymongo import ASCENDING, IndexModel

READ_MARKS = "read_marks"
PREFERENCES = "preferences"
SUBSCRIPTIONS = "subscriptions"
SUBSCRIBERS = "subscribers"
FAN_OUT_PARTS = "fan_out_parts"


class ReadMarks(Document):
    """What an account has read: every seq up to `upto`, and those `beyond`. `revision` guards a change."""

    id: str  # type: ignore[assignment]  # the account's id
    upto: int
    beyond: list[int]
    revision: str

    class Settings:
        """Where."""

        name = READ_MARKS


class StoredPreferences(Document):
    """What an account has chosen: entries with `pattern`, and `inbox` or `mail` or both."""

    id: str  # type: ignore[assignment]  # the account's id
    choices: list[dict[str, Any]]
    revision: str
    updated_at: datetime

    class Settings:
        """Where."""

        name = PREFERENCES


class Subscription(Document):
    """An account waits for an event of the shop about one subject."""

    id: str  # type: ignore[assignment]  # `account:topic:subject`
    account_id: str
    topic: str
    subject: str
    #: `topic:subject`; None once it has ended.
    watch: str | None
    lasting: bool
    since: datetime
    told_at: datetime | None = None
    #: Deleted some time after it has ended.
    delete_at: datetime | None = None

    class Settings:
        """Where, and how those who wait and an account's own are found."""

        name = SUBSCRIPTIONS
        indexes = (
            IndexModel([("watch", ASCENDING), ("account_id", ASCENDING)], name="by_watch"),
            IndexModel([("account_id", ASCENDING), ("_id", ASCENDING)], name="by_account"),
            IndexModel([("delete_at", ASCENDING)], name="ended", expireAfterSeconds=0),
        )


class Subscriber(Document):
    """An account that has subscribed. `revision` guards what begins: one at a time."""

    id: str  # type: ignore[assignment]  # the account's id
    revision: str

    class Settings:
        """Where."""

        name = SUBSCRIBERS


class FanOutProgress(Document):
    """A part of a fan-out. The first `done` of its accounts had their turn; `told` of them still waited."""

    id: str  # type: ignore[assignment]  # `event:number`
    accounts: list[str]
    done: int
    told: int
    #: Deleted some time after.
    delete_at: datetime

    class Settings:
        """Where."""

        name = FAN_OUT_PARTS
        indexes = (IndexModel([("delete_at", ASCENDING)], name="old", expireAfterSeconds=0),)
