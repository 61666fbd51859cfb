"""Sending again what was sent, or was not: some deliveries, or the events of a range."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from domain.changes import Database, Doc
from domain.errors import NotFound
from domain.events.models import EVENTS
from domain.events.rules import SHOP
from domain.events.times import OLDEST
from domain.jobs.models import JOBS, Claimed
from domain.jobs.rules import FINAL, SUCCEEDED, SYSTEM
from domain.jobs.running import JobRuns
from domain.jobs.service import Jobs
from domain.notifications.webhooks.commands import RedeliverWebhooks, SendWebhook
from domain.notifications.webhooks.endpoints import Endpoints
from domain.notifications.webhooks.errors import WebhookDisabled
from domain.notifications.webhooks.models import DELIVERIES
from domain.notifications.webhooks.range import EventRange
from domain.notifications.webhooks.rules import Recipient, first_key, next_key

#: Events of a range that one job looks at.
MOST_EVENTS = 10_000
#: Events that are looked at together.
PART = 25


class Redelivery:
    """Makes jobs that send again.

    Safe to run twice, and beside another: what is on its way, or was sent since the redelivery was asked for,
    is left alone, and of two jobs that would follow on the same one there is one, by its key.
    """

    def __init__(
        self, *, database: Database, endpoints: Endpoints, events: EventRange, jobs: Jobs, runs: JobRuns
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._events = events
        self._jobs = jobs
        self._runs = runs

    async def run(self, command: RedeliverWebhooks, job: Claimed) -> dict[str, Any]:
        """How many events were `sent` again, were `on_their_way`, had been `delivered` or are `unknown`.

        Of a range it looks at the first 10,000; `upto` is the time of the last one where there are more.
        Raises NotFound and WebhookDisabled.
        """
        endpoint = await self._endpoints.find(command.endpoint_id)
        if endpoint is None:
            raise NotFound(endpoint=command.endpoint_id)
        if not endpoint["enabled"]:
            raise WebhookDisabled(endpoint=command.endpoint_id)
        if command.deliveries is not None:
            return await self._deliveries(command, job)
        return await self._range(command, endpoint, job)

    async def _deliveries(self, command: RedeliverWebhooks, job: Claimed) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        ids = list(dict.fromkeys(command.deliveries or ()))
        for start in range(0, len(ids), PART):
            query = {"_id": {"$in": ids[start : start + PART]}, "endpoint_id": command.endpoint_id}
            rows = await self._database[DELIVERIES].find(query, {"event_id": 1}).to_list()
            wanted = sorted({row["event_id"] for row in rows})
            events = await self._database[EVENTS].find({"_id": {"$in": wanted}}, {"subject": 1}).to_list()
            await self._send(command, events, job, counts)
        counts["unknown"] = len(ids) - counts.total()
        return _shown(counts)

    async def _range(self, command: RedeliverWebhooks, endpoint: Doc, job: Claimed) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        async for part in self._wanted(command, endpoint, job):
            await self._send(command, part, job, counts)
            await self._runs.progress(job, looked_at=counts.total())
            if counts.total() >= MOST_EVENTS:
                return _shown(counts) | {"upto": part[-1]["time"].isoformat()}
        return _shown(counts)

    async def _wanted(
        self, command: RedeliverWebhooks, endpoint: Doc, job: Claimed
    ) -> AsyncIterator[list[Doc]]:
        recipient = Recipient(endpoint["_id"], frozenset(endpoint["events"]))
        asked = job.created_at
        since, until = command.since or asked, min(command.until or asked, asked)
        if endpoint["account_id"] == SHOP:
            since = max(since, asked - OLDEST)
        async for part in self._events.read(endpoint["account_id"], since=since, until=until):
            found = [event for event in part if recipient.wants(event["type"])]
            for start in range(0, len(found), PART):
                yield found[start : start + PART]

    async def _send(
        self, command: RedeliverWebhooks, events: list[Doc], job: Claimed, counts: Counter[str]
    ) -> None:
        """Adds to `counts` what became of each."""
        counts.update(await asyncio.gather(*(self._send_one(command, event, job) for event in events)))

    async def _send_one(self, command: RedeliverWebhooks, event: Doc, job: Claimed) -> str:
        endpoint_id, event_id = command.endpoint_id, str(event["_id"])
        newest = await self._newest(endpoint_id, event_id)
        if newest is not None:
            if newest["state"] not in FINAL or newest["created_at"] >= job.created_at:
                return "on_their_way"
            undelivered = command.deliveries is None and command.what == "undelivered"
            if undelivered and newest["state"] == SUCCEEDED:
                return "delivered"
        key = (
            next_key(endpoint_id, event_id, after=newest["_id"])
            if newest
            else first_key(endpoint_id, event_id)
        )
        again = SendWebhook(endpoint_id=endpoint_id, event_id=event_id)
        await self._jobs.submit(again, owner=SYSTEM, key=key, subject=event["subject"])
        return "sent"

    async def _newest(self, endpoint_id: str, event_id: str) -> Doc | None:
        """The last job that was made to send the event to the endpoint."""
        first = first_key(endpoint_id, event_id)
        # All that begin with the first one's key: `:` is before `;`.
        query = {"owner": SYSTEM, "kind": SendWebhook.kind, "key": {"$gte": first, "$lt": f"{first};"}}
        rows = await self._database[JOBS].find(query, {"state": 1, "created_at": 1}).to_list()
        return max(rows, key=lambda row: (row["created_at"], row["_id"]), default=None)


def _shown(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in ("sent", "on_their_way", "delivered", "unknown")}
