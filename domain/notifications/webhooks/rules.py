"""When webhooks are sent, how they are signed, and to which endpoints. Pure."""

import json
import random
import re
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from standardwebhooks import Webhook

from domain.events.rules import envelope

#: The pauses after the first, second, ... failed attempt. After the last one another attempt is the last.
PAUSES = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(days=1),
    timedelta(days=1),
)
ATTEMPTS = len(PAUSES) + 1
#: A pause is longer by up to this part of it, so that what failed together does not come back together.
JITTER = 0.1
#: The longest pause that a receiver can ask for.
LONGEST_PAUSE = timedelta(days=1)
#: A delivery is given up after this, however few attempts were made.
GIVE_UP_AFTER = timedelta(days=4)
#: How long the ledger has patience: more than that, so that giving up is ours to say.
PATIENCE = timedelta(days=7)

#: States of a delivery.
PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
DELIVERY_STATES = (PENDING, DELIVERED, FAILED)
#: Why an endpoint is disabled.
BY_OWNER, GONE, FAILING = "by_owner", "gone", "failing"
#: Says that whoever is called is there no more (RFC 9110, 15.5.11).
HTTP_GONE = 410

EVERYTHING = "*"
SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
#: Bytes of a secret; the standard asks for 24 to 64.
SECRET_BYTES = 32
#: Replaced secrets that may still sign.
MOST_OLD_SECRETS = 3
USER_AGENT = "Stockyard-Webhooks/1"
CONTENT_TYPE = "application/cloudevents+json"

_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Recipient:
    """An endpoint that is enabled, and which types of events it wants."""

    id: str
    wanted: frozenset[str]

    def wants(self, event_type: str) -> bool:
        """Whether events of the type are sent to it."""
        family = f"{event_type.partition('.')[0]}.*"
        return not self.wanted.isdisjoint((event_type, family, EVERYTHING))


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signing_secrets(endpoint: Mapping[str, Any], *, at: datetime) -> list[str]:
    """The endpoint's secret as stored, then those it has replaced that sign until their time is over."""
    old = (each["secret"] for each in endpoint["old_secrets"] if each["until"] > at)
    return [endpoint["secret"], *old]


def body_of(event: Mapping[str, Any]) -> str:
    """The stored event as it is sent: the CloudEvents envelope that listeners are told, too."""
    return json.dumps(envelope(event), separators=(",", ":"), ensure_ascii=False)


def headers_of(body: str, *, event_id: str, secrets: Iterable[str], at: datetime) -> dict[str, str]:
    """The headers of one attempt, by the Standard Webhooks form: one signature for each secret."""
    now = at.astimezone(UTC)
    signatures = [Webhook(secret).sign(event_id, now, body) for secret in secrets]
    return {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def pause_after(tries: int, *, asked: timedelta | None = None) -> timedelta | None:
    """The pause after so many failed attempts; None after the last one.

    Never less than the schedule's, and as long as the receiver has asked for, up to a day.
    """
    if tries > len(PAUSES):
        return None
    planned = PAUSES[tries - 1] * (1 + random.uniform(0, JITTER))
    return max(planned, min(asked, LONGEST_PAUSE)) if asked else planned


def retry_after(header: str | None, *, at: datetime) -> timedelta | None:
    """What a receiver asks for, in seconds or as a date (RFC 9110, 10.2.3); None where it cannot be read."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header):
        return timedelta(seconds=int(header))
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max(timedelta(), until.replace(tzinfo=until.tzinfo or UTC) - at)


def first_key(endpoint_id: str, event_id: str) -> str:
    """The key of the job that sends the event for the first time: it makes it one."""
    return f"{endpoint_id}:{event_id}"


def next_key(endpoint_id: str, event_id: str, *, after: str) -> str:
    """The key of the one that sends it again, after the job of that id has ended: of two there is one."""
    return f"{first_key(endpoint_id, event_id)}:{after}"


def recipients(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Recipient, ...]]:
    """Those of each owner."""
    found: dict[str, tuple[Recipient, ...]] = {}
    for row in rows:
        known = found.get(row["account_id"], ())
        found[row["account_id"]] = (*known, Recipient(row["_id"], frozenset(row["events"])))
    return found
