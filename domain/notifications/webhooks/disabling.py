"""Endpoints that do not answer are disabled, and their owner is told."""

from collections.abc import Mapping
from typing import Any

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import TryAgain
from domain.events.models import NewEvent, Recorded
from domain.events.service import Events
from domain.notifications.webhooks.endpoints import TRIES, marking
from domain.notifications.webhooks.known import KnownEndpoints
from domain.notifications.webhooks.models import ENDPOINTS
from domain.notifications.webhooks.rules import FAILING
from domain.observe import logger
from domain.settings import Webhooks as WebhookSettings
from domain.values import Clock, new_id

log = logger(__name__)


class Disabling:
    """Takes endpoints out of use."""

    def __init__(
        self,
        *,
        database: Database,
        events: Events,
        known: KnownEndpoints,
        settings: WebhookSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._events = events
        self._known = known
        self._settings = settings
        self._clock = clock

    async def disable(self, endpoint_id: str, *, reason: str) -> bool:
        """Whether it was enabled, and is not any more; then its owner is told `webhook.disabled`.

        With the reason `failing` only one that is failing for long enough.
        """
        for _ in range(TRIES):
            row = await self._database[ENDPOINTS].find_one({"_id": endpoint_id, "enabled": True})
            if row is None or (reason == FAILING and not self.has_failed(row)):
                return False
            changes = await marking(self._database)
            recorded = await self._disabling(changes, row, reason)
            try:
                await changes.commit(self._database)
            except GuardFailed:
                continue
            log.info("a webhook endpoint was disabled", endpoint=endpoint_id, reason=reason)
            self._events.publish(recorded)
            await self._known.forget()
            return True
        raise TryAgain("others kept changing endpoints")

    def has_failed(self, row: Mapping[str, Any]) -> bool:
        """Whether it has failed for so often and so long that it is to be disabled."""
        since = row.get("failing_since")
        often = row["failures"] >= self._settings.disable_after
        return often and since is not None and self._clock() - since >= self._settings.disable_after_time

    async def _disabling(self, changes: Changes, row: Doc, reason: str) -> Recorded:
        owner, now = row["account_id"], self._clock()
        fields = {"enabled": False, "disabled_for": reason, "disabled_at": now, "revision": new_id()}
        query = {"_id": row["_id"], "enabled": True, "revision": row["revision"]}
        if reason == FAILING:
            query["failures"] = {"$gte": self._settings.disable_after}
        changes.update(ENDPOINTS, query, {"$set": fields}, expect=1, name="endpoint")
        data = {"endpoint_id": row["_id"], "url": row["url"], "failures": row["failures"], "reason": reason}
        event = NewEvent(account_id=owner, type="webhook.disabled", subject=row["_id"], data=data)
        cursors = await self._events.cursors([owner])
        return self._events.record(changes, [event], cursors=cursors, at=now)
