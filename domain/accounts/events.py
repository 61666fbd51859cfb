"""What is told of accounts."""

from domain.events.registry import ACCOUNT, EventData, event


@event("account.password_changed", subject="account", whose=ACCOUNT, example={"address": "203.0.113.7"})
class PasswordChanged(EventData):
    """The account's password was changed; `address` is where from, where that is known."""

    address: str | None = None
