"""The wire form of events. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from domain.events.registry import dataschema

#: Whose events those of the shop itself are, such as `stock.low`: an account's id that no account has.
SHOP = "shop"


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds: 2026-11-22T10:45:28.123Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(event: Mapping[str, Any]) -> dict[str, Any]:
    """A stored event as a CloudEvents 1.0 envelope with `seq`; `account_id` is in `source`."""
    return {
        "specversion": "1.0",
        "id": event["_id"],
        "source": f"/accounts/{event['account_id']}",
        "type": event["type"],
        "subject": event["subject"],
        "time": rfc3339(event["time"]),
        "datacontenttype": "application/json",
        "dataschema": dataschema(event["type"], event.get("version", 1)),
        "seq": event["seq"],
        "data": event["data"],
    }


def messages(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (channel, payload) pairs that tell of one event."""
    payload = json.dumps(envelope(event), separators=(",", ":"), ensure_ascii=False)
    return [
        (account_channel(event["account_id"]), payload),
        (type_channel(event["type"]), payload),
    ]


def cursor_lock(account_id: str) -> str:
    """The lock that saves two transactions from numbering an account's events at once."""
    return f"lock:events:{account_id}"


def type_channel(name: str) -> str:
    """Where the events of one type are told, of all accounts."""
    return f"stockyard:events:{name}"


def account_channel(account_id: str) -> str:
    """Where an account's events are told."""
    return f"stockyard:account:{account_id}"
