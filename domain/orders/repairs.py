"""What helps where something is stuck, each act in the audit log."""

from typing import Any

from domain.audit_log.models import Actor, Entry
from domain.audit_log.service import AuditLog
from domain.errors import Invalid, NotFound
from domain.events.service import Events
from domain.inventory.holds import Holds
from domain.jobs.desk import JobDesk
from domain.jobs.relay import Relay
from domain.orders.service import Orders

#: The verbs, and what they are for.
REPAIRS = ("expedite", "replay", "take_back", "end_hold", "republish")


class Repairs:
    """Does at once what would be done by itself if all was well. Done twice, it does no harm."""

    def __init__(
        self,
        *,
        desk: JobDesk,
        relay: Relay,
        orders: Orders,
        holds: Holds,
        events: Events,
        audit_log: AuditLog,
    ) -> None:
        self._desk = desk
        self._relay = relay
        self._orders = orders
        self._holds = holds
        self._events = events
        self._audit_log = audit_log

    async def repair(
        self, verb: str, thing_id: str, *, actor: Actor, reason: str | None = None
    ) -> dict[str, Any]:
        """Answers what was done. Raises Invalid for no such verb, and what the verb itself raises."""
        if verb == "expedite":
            job = await self._desk.expedite(thing_id, actor=actor, reason=reason)
            return {"repair": verb, "id": thing_id, "state": job["state"]}
        if verb == "replay":
            job = await self._desk.replay(thing_id, actor=actor, reason=reason)
            return {"repair": verb, "id": thing_id, "state": job["state"]}
        if verb not in REPAIRS:
            raise Invalid(reason="unknown_repair", known=list(REPAIRS))
        entry = Entry(actor, f"repair.{verb}", _thing(verb), thing_id, reason=reason)
        async with self._audit_log.acting(entry) as act:
            act.after = await self._do(verb, thing_id)
        return {"repair": verb, "id": thing_id, **act.after}

    async def _do(self, verb: str, thing_id: str) -> dict[str, Any]:
        if verb == "take_back":
            await self._relay.take_back_one(thing_id)
            return {"taken_back": 1}
        if verb == "end_hold":
            if await self._holds.get(thing_id) is None:
                raise NotFound(hold=thing_id)
            # Of a hold whose time is not over this ends nothing.
            return await self._orders.expire([thing_id])
        return {"told": await self._events.republish()}


def _thing(verb: str) -> str:
    return {"take_back": "job", "end_hold": "hold"}.get(verb, "events")
