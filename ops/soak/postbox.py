"""A mail server that takes every letter, and what is wrong with those that came."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from email import message_from_bytes
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from domain.events.models import EVENTS
from domain.events.rules import SHOP
from domain.jobs.models import JOBS
from domain.jobs.rules import RUNNING
from domain.notifications.commands import SendMail
from domain.notifications.letters import WRITTEN
from ops.books import Store
from ops.fleet import LOOPBACK

#: The domain of whom letters are from.
DOMAIN = "soak.example"


class Postbox(AbstractContextManager["Postbox"]):
    """A server in a thread of its own while it is open. `letters` counts them by the id of their event."""

    def __init__(self) -> None:
        self.letters: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0

    def __enter__(self) -> Self:
        """Begins."""
        self._thread.start()
        self._port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def settings(self) -> Mapping[str, str]:
        """Of processes whose letters come here."""
        return {
            "STOCKYARD_MAIL_HOST": LOOPBACK,
            "STOCKYARD_MAIL_PORT": str(self._port),
            "STOCKYARD_MAIL_SECURITY": "none",
            "STOCKYARD_MAIL_SENDER": f"Soak <shop@{DOMAIN}>",
        }

    async def _serve(self) -> int:
        server = await self._loop.create_server(lambda: SMTP(self, ident="soak"), LOOPBACK, 0)
        return int(server.sockets[0].getsockname()[1])

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
