"""A mail server that takes every letter, and what is wrong with those that came."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from domain.events.models import EVENTS
from domain.events.rules import SHOP
from domain.jobs.models import JOBS
from domain.jobs.rules import RUNNING
from domain.notifications.commands import SendMail
from domain.notifications.letters import WRITTEN
from ops.books import Store
from ops.servers.ports import LOOPBACK
from ops.soak.background import Server

#: The domain of whom letters are from.
DOMAIN = "soak.example"


class Postbox(Server):
    """`letters` counts them by the id of their event."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: Counter[str] = Counter()

    @property
    def settings(self) -> Mapping[str, str]:
        """Of processes whose letters come here."""
        return {
            "STOCKYARD_MAIL_HOST": LOOPBACK,
            "STOCKYARD_MAIL_PORT": str(self.port),
            "STOCKYARD_MAIL_SECURITY": "none",
            "STOCKYARD_MAIL_SENDER": f"Soak <shop@{DOMAIN}>",
        }

    async def _serve(self) -> asyncio.Server:
        return await self._loop.create_server(lambda: SMTP(self, ident="soak"), LOOPBACK, 0)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Called by the server with each message."""
        content = envelope.content
        message = message_from_bytes(content if isinstance(content, bytes) else b"")
        self.letters[str(message["Message-ID"]).strip("<>").partition("@")[0]] += 1
        return "250 OK"


def odd_letters(database: Store, letters: Mapping[str, int]) -> Iterator[str]:
    """Events without their letter, letters without an event, and those that came more often than they ran."""
    query = {"type": {"$in": sorted(WRITTEN)}, "account_id": {"$ne": SHOP}}
    told = {row["_id"] for row in database[EVENTS].find(query, {"_id": 1})}
    for event_id in sorted(told ^ letters.keys()):
        yield f"event {event_id} has {letters.get(event_id, 0)} letters"
    for event_id in sorted(each for each, count in letters.items() if count > 1):
        job: dict[str, Any] = database[JOBS].find_one({"kind": SendMail.kind, "key": event_id}) or {}
        runs = sum(step["state"] == RUNNING for step in job.get("history", ()))
        if letters[event_id] > runs:
            yield f"event {event_id} has {letters[event_id]} letters of {runs} runs"
