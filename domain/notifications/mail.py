"""Mail about events: which have some, and how one is sent."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import TypeAlias

from domain.accounts.directory import Directory
from domain.changes import Database, Doc
from domain.errors import NotFound, TryAgain
from domain.events.models import EVENTS
from domain.events.rules import SHOP
from domain.jobs.models import Claimed
from domain.notifications.commands import SendMail
from domain.notifications.errors import MailRefused
from domain.notifications.letters import WRITTEN, letter
from domain.notifications.preferences import Preferences
from domain.notifications.routing import Delivery
from domain.notifications.rules import wanted
from domain.ports import LetterRefused, MailAway, Mailer, OutgoingMail
from domain.settings import Mail
from domain.values import Clock

#: Messages that wait in one process for each that is on its way. More go back into the ledger for a while.
WAITING = 3
#: Seconds for which they do, at first and at most.
NO_PLACE, STILL_NO_PLACE = 2.0, 60.0

#: The stored order of this id, if there is one.
FindOrder: TypeAlias = Callable[[str], Awaitable[Doc | None]]


class MailWay:
    """The way of events to mailboxes. Without a mail server there is none."""

    def __init__(self, settings: Mail, preferences: Preferences) -> None:
        self._on = settings.host is not None
        self._preferences = preferences

    async def deliveries(self, events: Sequence[Doc]) -> Sequence[Delivery]:
        """One job for each event that there is a letter for, and that the account wants by mail."""
        if not self._on:
            return ()
        written = [event for event in events if event["type"] in WRITTEN and event["account_id"] != SHOP]
        chosen = await self._preferences.of_all([event["account_id"] for event in written])
        return [
            Delivery(SendMail(event_id=event["_id"]), key=event["_id"], subject=event["subject"])
            for event in written
            if wanted(chosen.get(event["account_id"], {}), event["type"], "mail")
        ]


class Post:
    """Sends letters. One event is one letter: a second one, see `send`, has the same Message-ID."""

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        preferences: Preferences,
        mailer: Mailer | None,
        find_order: FindOrder,
        settings: Mail,
        clock: Clock,
    ) -> None:
        self._database = database
        self._directory = directory
        self._preferences = preferences
        self._mailer = mailer
        self._find_order = find_order
        self._settings = settings
        self._shop = parseaddr(settings.sender)[0] or "Stockyard"
        self._clock = clock
        self._places = asyncio.Semaphore(settings.connections)
        self._here = 0

    async def send(self, event_id: str, job: Claimed) -> Doc:
        """What was sent, or why nothing was.

        Whoever is killed between the server's 250 and the ledger's note of it makes it come twice. Raises
        MailRefused where the server refused it for good, and TryAgain, with longer and longer pauses.
        """
        if self._here >= self._settings.connections * (1 + WAITING):
            so_far = self._so_far(job.failing_since).total_seconds()
            seconds = min(max(so_far, NO_PLACE), STILL_NO_PLACE)
            raise TryAgain("enough messages are on their way", seconds=seconds)
        self._here += 1
        try:
            return await self._send(event_id, job)
        finally:
            self._here -= 1

    async def _send(self, event_id: str, job: Claimed) -> Doc:
        event = await self._database[EVENTS].find_one({"_id": event_id})
        if event is None:
            raise LookupError(f"there is no event {event_id}")
        to, why_not = await self._recipient(event)
        if why_not or self._mailer is None:
            return {"skipped": why_not or "no_mail_server"}
        written = letter(event, await self._order_of(event), shop=self._shop)
        mail = OutgoingMail(
            id=event_id, to=to, subject=written.subject, text=written.text, html=written.html,
            date=event["time"],
        )  # fmt: skip
        await self._hand_over(self._mailer, mail, job)
        return {"sent": event["type"]}

    async def _hand_over(self, mailer: Mailer, mail: OutgoingMail, job: Claimed) -> None:
        try:
            async with self._places:
                await mailer.send(mail)
        except LetterRefused as error:
            raise MailRefused(reason=str(error)) from error
        except MailAway as error:
            raise TryAgain(str(error), seconds=self._pause(job.failing_since)) from error

    def _pause(self, failing_since: datetime | None) -> float:
        """As long as it has not worked so far, within bounds: that doubles."""
        pause = max(self._so_far(failing_since), self._settings.backoff)
        return min(pause, self._settings.max_backoff).total_seconds()

    def _so_far(self, failing_since: datetime | None) -> timedelta:
        return self._clock() - failing_since if failing_since else timedelta()

    async def _recipient(self, event: Doc) -> tuple[str, str | None]:
        """The address, or why there is none to write to."""
        try:
            account = await self._directory.get(event["account_id"])
        except NotFound:
            return "", "no_account"
        chosen = await self._preferences.of(account.id)
        return account.email, None if wanted(chosen.choices, event["type"], "mail") else "not_wanted"

    async def _order_of(self, event: Doc) -> Doc | None:
        order_id = event["data"].get("order_id")
        return await self._find_order(order_id) if order_id else None
