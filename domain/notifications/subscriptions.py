"""Accounts that wait for an event of the shop about one subject, such as `stock.back` of a SKU."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

from pymongo.asynchronous.cursor import AsyncCursor

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import NotFound, TryAgain
from domain.notifications.errors import TooManySubscriptions
from domain.notifications.models import SUBSCRIBERS, SUBSCRIPTIONS
from domain.notifications.rules import MOST_SUBSCRIPTIONS, TOPICS, watch_of
from domain.values import Clock, new_id

#: How often a subscription is tried again that ends or begins at the same time.
TRIES = 8

#: What the subject of a topic is called. Raises a DomainError where there is none.
NameOf: TypeAlias = Callable[[str, str], Awaitable[str]]


class Subscriptions:
    """One per (account, topic, subject). One that is not lasting ends once its account was told."""

    def __init__(self, *, database: Database, clock: Clock, name_of: NameOf) -> None:
        self._database = database
        self._rows = database[SUBSCRIPTIONS]
        self._clock = clock
        self._name_of = name_of

    async def subscribe(
        self, account_id: str, *, topic: str, subject: str, lasting: bool = False
    ) -> tuple[Doc, bool]:
        """The subscription, and whether it began now. A repetition changes nothing but `lasting`.

        It is for what happens from now on. Raises NotFound for a topic that there is not, what
        `name_of` raises, and TooManySubscriptions.
        """
        _require_topic(topic)
        ident = id_of(account_id, topic, subject)
        for tried in range(TRIES):
            await asyncio.sleep(random.uniform(0, 0.02 * tried))
            query = {"_id": ident, "watch": {"$ne": None}}
            changed = await self._rows.update_one(query, {"$set": {"lasting": lasting}})
            if not changed.matched_count and not await self._begin(
                account_id, topic, subject, lasting=lasting
            ):
                continue
            row = await self._rows.find_one(query)
            if row is not None:
                return row, not changed.matched_count
        raise TryAgain("the subscription keeps changing")

    async def _begin(self, account_id: str, topic: str, subject: str, *, lasting: bool) -> bool:
        """Whether it began by this call; one that has ended begins again.

        Of an account's subscriptions that begin at once, one is first: so there are never too many.
        """
        await self._name_of(topic, subject)
        ident, changes = id_of(account_id, topic, subject), Changes()
        await self._one_at_a_time(changes, account_id)
        if len(await self._active(account_id).to_list()) >= MOST_SUBSCRIPTIONS:
            raise TooManySubscriptions(most=MOST_SUBSCRIPTIONS)
        fields: Doc = {
            "account_id": account_id, "topic": topic, "subject": subject,
            "watch": watch_of(topic, subject), "lasting": lasting, "since": self._clock(),
            "told_at": None, "delete_at": None,
        }  # fmt: skip
        if await self._rows.find_one({"_id": ident}, {"_id": 1}) is None:
            changes.insert(SUBSCRIPTIONS, [{"_id": ident, **fields}], guard=True)
        else:
            ended = {"_id": ident, "watch": None}
            changes.update(SUBSCRIPTIONS, ended, {"$set": fields}, expect=1, name="ended subscription")
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return False
        return True

    async def _one_at_a_time(self, changes: Changes, account_id: str) -> None:
        """Nothing else of the account begins between what is read now and the transaction."""
        row = await self._database[SUBSCRIBERS].find_one({"_id": account_id})
        if row is None:
            changes.insert(SUBSCRIBERS, [{"_id": account_id, "revision": new_id()}], guard=True)
            return
        seen = {"_id": account_id, "revision": row["revision"]}
        update = {"$set": {"revision": new_id()}}
        changes.update(SUBSCRIBERS, seen, update, expect=1, name="subscriber")

    async def unsubscribe(self, account_id: str, *, topic: str, subject: str) -> None:
        """Idempotent. Raises NotFound for a topic that there is not."""
        _require_topic(topic)
        await self._rows.delete_one({"_id": id_of(account_id, topic, subject), "watch": {"$ne": None}})

    async def page(self, account_id: str, *, after: str | None, limit: int) -> list[Doc]:
        """The account's subscriptions by topic and subject, those after `after`, which is `topic:subject`."""
        rows = await self._active(account_id).to_list()
        found = sorted(rows, key=lambda row: str(row["watch"]))
        return [row for row in found if after is None or row["watch"] > after][:limit]

    async def anybody(self, watch: str, *, since: datetime) -> bool:
        """Whether somebody waits who began before `since`."""
        query = {"watch": watch, "since": {"$lte": since}}
        return await self._rows.find_one(query, {"_id": 1}) is not None

    def _active(self, account_id: str) -> AsyncCursor[Doc]:
        return self._rows.find({"account_id": account_id, "watch": {"$ne": None}})


def id_of(account_id: str, topic: str, subject: str) -> str:
    """The subscription's id."""
    return f"{account_id}:{watch_of(topic, subject)}"


def _require_topic(topic: str) -> None:
    if topic not in TOPICS:
        raise NotFound(topic=topic[:100])
