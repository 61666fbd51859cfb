"""What each type of event is called, what it says to people, and how it reaches them. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.notifications.money import shown
from domain.values import Money


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of event.

    `title` and `text` name facts of the event in braces, see `facts`. `inbox` and `mail` say whether it comes
    that way where the account has not chosen; with `mail` None there is no letter. `always` is for mail that
    nobody switches off.
    """

    title: str
    text: str
    inbox: bool = True
    mail: bool | None = None
    always: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """An event in words: one line, and a sentence or two."""

    title: str
    text: str


#: Every type of event that an account can have.
KINDS: Mapping[str, Kind] = {
    "account.password_changed": Kind(
        "Your password was changed",
        "The password of your account was changed{from_address}. All other devices were logged out. If this"
        " was not you, set a new password now.",
        mail=True,
        always=True,
    ),
    "hold.expired": Kind("Reservation expired", "Your reservation {reservation_id} was not used in time."),
    "hold.held": Kind("Reservation held", "Your reservation {reservation_id} is held for you.", inbox=False),
    "hold.released": Kind(
        "Reservation released", "Your reservation {reservation_id} was given back.", inbox=False
    ),
    "import.finished": Kind("Import finished", "The import {subject} has ended."),
    "job.dead": Kind("A job has failed", "The job {subject} could not be done. Our staff look at it."),
    "media.failed": Kind("Picture refused", "The picture {subject} cannot be used.{because}"),
    "media.ready": Kind("Picture ready", "The picture {subject} can be used."),
    "order.cancelled": Kind("Order cancelled", "Your order {order_id} was cancelled.{because}", mail=True),
    "order.completed": Kind("Order completed", "Your order {order_id} is complete."),
    "order.expired": Kind(
        "Order expired",
        "Your order {order_id} was not paid in time. Its items are for sale again; nothing was charged.",
        mail=True,
    ),
    "order.fulfilled": Kind("Order sent", "Items of your order {order_id} were sent.{tracking}", mail=True),
    "order.paid": Kind(
        "Order confirmed", "Thank you. Your order {order_id} is paid and will be sent.", mail=True
    ),
    "order.refund_refused": Kind(
        "Refund refused", "The refund for your order {order_id} was not made.{because}"
    ),
    "order.refunded": Kind(
        "Money refunded", "{amount} of your order {order_id} was paid back to you.", mail=True
    ),
    "order.rejected": Kind(
        "Order refused", "Your order {order_id} could not be accepted: {code}.", mail=True
    ),
    "order.reserved": Kind(
        "Order reserved", "Your order {order_id}{over_total} is held for you until it is paid."
    ),
    "payment.captured": Kind(
        "Payment received", "Your payment of {amount} for order {order_id} was received.", inbox=False
    ),
    "payment.declined": Kind(
        "Payment declined", "Your payment of {amount} for order {order_id} was declined.{because}"
    ),
    "payment.refunded": Kind(
        "Payment refunded",
        "Your payment of {amount} for order {order_id} came too late and was paid back to you.",
        mail=True,
    ),
    "payment.voided": Kind(
        "Payment let go", "Your payment of {amount} for order {order_id} was not taken.{because}"
    ),
    "product.back": Kind("{name} is back", "{name} ({sku}) is in stock again.", mail=True),
    "webhook.disabled": Kind(
        "Webhook disabled", "Your endpoint {url} was switched off, as {failed_how}.", mail=True
    ),
}
CHANNELS = ("inbox", "mail")


def notice(event: Mapping[str, Any]) -> Notice:
    """A stored event in words. Raises KeyError for a type that no account has."""
    kind, known = KINDS[event["type"]], facts(event)
    return Notice(kind.title.format_map(known), kind.text.format_map(known))


def facts(event: Mapping[str, Any]) -> Mapping[str, str]:
    """What titles and texts name; what an event does not have is empty."""
    data = event["data"]
    found = {name: str(value) for name, value in data.items() if isinstance(value, str | int)}
    found["subject"] = event["subject"]
    for name in ("amount", "total"):
        if name in data and "currency" in data:
            found[name] = shown(Money(amount=data[name], currency=data["currency"]))
    phrases = {
        "because": f" Reason: {_plain(data['reason'])}." if data.get("reason") else "",
        "failed_how": "it said that it is gone"
        if data.get("reason") == "gone"
        else "deliveries kept failing",
        "over_total": f" over {found['total']}" if "total" in found else "",
        "from_address": f" from the address {data['address']}" if data.get("address") else "",
        "tracking": f" {_tracking(data)}" if data.get("tracking_number") else "",
        "code": str(data.get("code", "")).replace("_", " "),
        "name": str(data.get("name") or event["subject"]),
    }
    return defaultdict(str, found | phrases)


def _plain(reason: str) -> str:
    """Without a full stop of its own; one that is a code, such as `insufficient_funds`, as words."""
    return (reason if " " in reason else reason.replace("_", " ")).rstrip(".")


def _tracking(data: Mapping[str, Any]) -> str:
    by = f" by {data['carrier']}" if data.get("carrier") else ""
    return f"Tracking number{by}: {data['tracking_number']}."
