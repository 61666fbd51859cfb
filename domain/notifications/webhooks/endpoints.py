"""Endpoints of accounts and of the shop: made, changed, deleted."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import Invalid, NotFound, StaleRevision, TryAgain
from domain.events import registry
from domain.notifications.webhooks.errors import (
    TooManySecrets,
    TooManyWebhooks,
    WebhookExists,
    WebhookUrlRefused,
)
from domain.notifications.webhooks.known import KnownEndpoints
from domain.notifications.webhooks.models import ENDPOINTS, MARK, MARKS
from domain.notifications.webhooks.rules import (
    BY_OWNER,
    EVERYTHING,
    MOST_OLD_SECRETS,
    new_secret,
)
from domain.notifications.webhooks.sealing import Sealing
from domain.ports import WebhookSender
from domain.settings import Webhooks as WebhookSettings
from domain.values import Clock, new_id

#: How often a change is tried again where somebody else changed another endpoint, or told an event.
TRIES = 20
#: The longest that a replaced secret may go on signing.
MAX_OVERLAP = timedelta(days=30)
#: Endpoints of one reading.
MAX_READ = 25


class Endpoints:
    """The endpoints. Every change of what is sent where makes the mark anew, in its transaction."""

    def __init__(
        self,
        *,
        database: Database,
        known: KnownEndpoints,
        sender: WebhookSender,
        sealing: Sealing,
        settings: WebhookSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._known = known
        self._sender = sender
        self._sealing = sealing
        self._settings = settings
        self._clock = clock
        self._reads: Batcher[str, Doc | None] = Batcher(self._read, max_size=MAX_READ)

    async def create(self, owner: str, *, url: str, events: Collection[str], **facts: Any) -> Doc:
        """A new endpoint of an account or of the shop, with its secret.

        Raises WebhookUrlRefused, Invalid for types of events that there are not, WebhookExists for a URL that
        the owner has an endpoint with, and TooManyWebhooks.
        """
        self._check_url(url)
        secret = new_secret()
        row = {
            "_id": new_id(), "account_id": owner, "url": url, "events": known_types(events), **facts,
            "disabled_for": None, "disabled_at": None, "secret": self._sealing.seal(secret),
            "old_secrets": [], "failures": 0, "created_at": self._clock(), "revision": new_id(),
        }  # fmt: skip
        if not row["enabled"]:
            row |= {"disabled_for": BY_OWNER, "disabled_at": row["created_at"]}
        await self._database[MARKS].update_one({"_id": MARK}, {"$setOnInsert": {"revision": ""}}, upsert=True)
        for _ in range(TRIES):
            changes = await marking(self._database)
            await self._require_room(row)
            changes.insert(ENDPOINTS, [row], guard=True)
            if await self._applied(changes, row["_id"], row["revision"]):
                return row | {"secret": secret}
        raise TryAgain("others kept changing endpoints")

    async def get(self, endpoint_id: str, *, owner: str | None) -> Doc:
        """The endpoint with its secrets as stored; `owner` None stands for any. Raises NotFound."""
        row = await self._database[ENDPOINTS].find_one({"_id": endpoint_id})
        if row is None or (owner is not None and row["account_id"] != owner):
            raise NotFound(endpoint=endpoint_id)
        return row

    async def find(self, endpoint_id: str) -> Doc | None:
        """As `get`, for what sends to it: many at once become one reading."""
        return await self._reads.submit(endpoint_id)

    async def page(self, owner: str | None, *, after: str | None, limit: int) -> list[Doc]:
        """The owner's, oldest first; None stands for everybody's."""
        query: Doc = {} if owner is None else {"account_id": owner}
        if after is not None:
            query["_id"] = {"$gt": after}
        return await self._database[ENDPOINTS].find(query).sort("_id").limit(limit).to_list()

    async def change(
        self,
        endpoint_id: str,
        fields: Mapping[str, Any],
        *,
        owner: str | None,
        expected: Collection[str] | None,
    ) -> Doc:
        """Sets `url`, `description`, `events` or `enabled`. Enabling or another URL forget failures.

        Raises NotFound, StaleRevision where none of the revisions `expected` is the stored one, and what
        `create` raises.
        """
        row = await self.get(endpoint_id, owner=owner)
        if expected is not None and row["revision"] not in expected:
            raise StaleRevision(revision=row["revision"])
        wanted = dict(fields)
        if "url" in wanted:
            self._check_url(wanted["url"])
        if "events" in wanted:
            wanted["events"] = known_types(wanted["events"])
        for _ in range(TRIES):
            changes = await marking(self._database)
            await self._require_room(row | wanted, new=False)
            update = _update(row, wanted, now=self._clock())
            query = {"_id": endpoint_id, "revision": row["revision"]}
            changes.update(ENDPOINTS, query, update, expect=1, name="endpoint")
            if await self._applied(changes, endpoint_id, update["$set"]["revision"]):
                return await self.get(endpoint_id, owner=owner)
            again = await self.get(endpoint_id, owner=owner)
            if expected is not None and again["revision"] != row["revision"]:
                raise StaleRevision(revision=again["revision"])
            row = again
        raise TryAgain("others kept changing endpoints")

    async def delete(self, endpoint_id: str, *, owner: str | None) -> None:
        """Nothing is sent any more, and what is on its way fails at its next attempt. Raises NotFound."""
        await self.get(endpoint_id, owner=owner)
        for _ in range(TRIES):
            # Every process has to read again: what it knows of is not taken away without the mark.
            changes = await marking(self._database)
            update = {"$set": {"enabled": False, "revision": new_id()}}
            changes.update(ENDPOINTS, {"_id": endpoint_id}, update, expect=None, name="endpoint")
            with suppress(GuardFailed):
                await changes.commit(self._database)
                await self._database[ENDPOINTS].delete_one({"_id": endpoint_id})
                await self._known.forget()
                return
        raise TryAgain("others kept changing endpoints")

    async def rotate(self, endpoint_id: str, *, owner: str | None, overlap: timedelta | None) -> Doc:
        """A new secret. The one before signs, too, for `overlap`: 0 to 30 days. With 0 none does.

        Raises NotFound, Invalid, and TooManySecrets where three replaced ones still sign.
        """
        lasting = self._settings.secret_overlap if overlap is None else overlap
        if not timedelta() <= lasting <= MAX_OVERLAP:
            raise Invalid(reason="overlap")
        for _ in range(TRIES):
            row, now = await self.get(endpoint_id, owner=owner), self._clock()
            old = [each for each in row["old_secrets"] if each["until"] > now] if lasting else []
            if len(old) >= MOST_OLD_SECRETS:
                raise TooManySecrets(until=min(each["until"] for each in old).isoformat())
            secret = new_secret()
            fields = {
                "secret": self._sealing.seal(secret),
                "old_secrets": [{"secret": row["secret"], "until": now + lasting}, *old] if lasting else [],
                "revision": new_id(),
            }
            query = {"_id": endpoint_id, "revision": row["revision"]}
            changed = await self._database[ENDPOINTS].update_one(query, {"$set": fields})
            if changed.matched_count:
                return row | fields | {"secret": secret}
        raise TryAgain("others kept changing the endpoint")

    async def drain(self) -> None:
        """Returns when nobody reads any more."""
        await self._reads.drain()

    async def _applied(self, changes: Changes, endpoint_id: str, revision: str) -> bool:
        """Whether the change was made. One whose answer was lost is found by its revision."""
        try:
            await changes.commit(self._database)
        except GuardFailed:
            if not await self._database[ENDPOINTS].count_documents(
                {"_id": endpoint_id, "revision": revision}
            ):
                return False
        await self._known.forget()
        return True

    async def _require_room(self, row: Mapping[str, Any], *, new: bool = True) -> None:
        own = self._database[ENDPOINTS].find({"account_id": row["account_id"]}, {"url": 1})
        others = [each async for each in own if each["_id"] != row["_id"]]
        for each in others:
            if each["url"] == row["url"]:
                raise WebhookExists(endpoint=each["_id"])
        if new and len(others) >= self._settings.max_endpoints:
            raise TooManyWebhooks(most=self._settings.max_endpoints)

    def _check_url(self, url: str) -> None:
        reason = self._sender.objection(url)
        if reason is not None:
            raise WebhookUrlRefused(reason=reason)

    async def _read(self, ids: list[str]) -> list[Doc | None]:
        rows = self._database[ENDPOINTS].find({"_id": {"$in": sorted(set(ids))}})
        found = {row["_id"]: row async for row in rows}
        return [found.get(endpoint_id) for endpoint_id in ids]


async def marking(database: Database) -> Changes:
    """A transaction that fails where any other has changed an endpoint since."""
    mark = await database[MARKS].find_one({"_id": MARK})
    changes = Changes()
    query = {"_id": MARK, "revision": mark["revision"] if mark else ""}
    changes.update(MARKS, query, {"$set": {"revision": new_id()}}, expect=1, name="mark")
    return changes


def known_types(wanted: Iterable[str]) -> list[str]:
    """The types and families, each once, sorted. Raises Invalid with those that stand for nothing."""
    types = registry.names()
    families = {f"{each.partition('.')[0]}.*" for each in types}
    asked = sorted(set(wanted))
    unknown = [each for each in asked if each not in families and each not in {EVERYTHING, *types}]
    if unknown:
        raise Invalid(reason="unknown_event", events=unknown)
    return asked


def _update(row: Doc, wanted: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    fields = {**wanted, "revision": new_id()}
    if wanted.get("enabled") is False and row["enabled"]:
        fields |= {"disabled_for": BY_OWNER, "disabled_at": now}
    if wanted.get("enabled") is True:
        fields |= {"disabled_for": None, "disabled_at": None}
    if wanted.get("enabled") is True or wanted.get("url", row["url"]) != row["url"]:
        return {"$set": fields | {"failures": 0}, "$unset": {"failing_since": ""}}
    return {"$set": fields}
