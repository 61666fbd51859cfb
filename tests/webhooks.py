"""Webhooks as tests need them: services over a receiver on this host."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from domain.bootstrap import Services
from domain.changes import Changes, Doc
from domain.events import registry
from domain.events.models import NewEvent
from domain.events.rules import SHOP
from domain.notifications.webhooks.commands import RedeliverWebhooks, SendWebhook
from domain.values import new_id
from tests.factories import Shop
from tests.receiver import Receiver

#: What lets webhooks reach the receiver, soon.
LOCAL = {
    "STOCKYARD_WEBHOOKS_ALLOW_LOOPBACK": "true",
    "STOCKYARD_WEBHOOKS_TIMEOUT": "60s",
    "STOCKYARD_WEBHOOKS_REFRESH": "200ms",
}


@dataclass(frozen=True, slots=True)
class Post:
    """Endpoints, events and jobs, made in one line each; jobs are run here, as a worker would."""

    services: Services
    receiver: Receiver
    #: Whose endpoints and events they are, where nobody says otherwise.
    me: str = field(default_factory=new_id)

    async def endpoint(self, owner: str | None = None, path: str = "/", **facts: Any) -> Doc:
        owner, facts = owner or self.me, {"events": ["*"], "description": None, "enabled": True} | facts
        return await self.services.webhooks.endpoints.create(owner, url=self.receiver.url(path), **facts)

    async def stored(self, endpoint: Doc) -> Doc:
        return await self.services.webhooks.endpoints.get(endpoint["_id"], owner=None)

    async def happen(self, *owners: str) -> list[Doc]:
        """An event of each, told and routed: `hold.released` or the shop's `stock.low`."""
        owners, services, changes = owners or (self.me,), self.services, Changes()
        cursors = await services.events.cursors(owners)
        recorded = services.events.record(
            changes, [_event(owner) for owner in owners], cursors=cursors, at=services.clock()
        )
        await changes.commit(services.database)
        services.events.publish(recorded)
        await services.events.drain()
        return list(recorded.events)

    async def jobs(self, endpoint: Doc | None = None) -> list[Doc]:
        """Those that send to the endpoint, or to all of mine, in the order in which they were made."""
        mine = await self.services.webhooks.endpoints.page(self.me, after=None, limit=100)
        wanted = [each["_id"] for each in ([endpoint] if endpoint else mine)]
        query: Doc = {"kind": SendWebhook.kind, "payload.endpoint_id": {"$in": wanted}}
        return await self.services.database["jobs"].find(query).sort("_id").to_list()

    async def send(self, endpoint: Doc | None = None) -> list[Doc]:
        """One run of each job that waits, however long it is to; the jobs afterwards."""
        waiting = [job for job in await self.jobs(endpoint) if job["state"] == "queued"]
        return [await Shop(self.services).work(job["_id"]) for job in waiting]

    async def delivery(self, endpoint: Doc, job: Doc) -> Doc:
        return await self.services.webhooks.log.get(job["_id"], endpoint_id=endpoint["_id"])

    async def redeliver(self, endpoint: Doc, **what: Any) -> Doc:
        """The redelivery's job, run."""
        command = RedeliverWebhooks(endpoint_id=endpoint["_id"], **what)
        accepted = await self.services.jobs.submit(command, owner=self.me, key=new_id())
        return await Shop(self.services).work(accepted.job_id)


def _event(owner: str) -> NewEvent:
    kind = "stock.low" if owner == SHOP else "hold.released"
    data = next(dict(each.example) for each in registry.types() if each.name == kind)
    return NewEvent(account_id=owner, type=kind, subject=new_id(), data=data)


def in_the_hour_before(services: Services) -> dict[str, Any]:
    """What is redelivered: all that has happened in the last hour."""
    return {"since": services.clock() - timedelta(hours=1)}
