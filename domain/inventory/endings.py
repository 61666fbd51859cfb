"""What the end of holds writes and tells by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from domain.changes import Changes, Doc
from domain.events.models import NewEvent
from domain.inventory.models import HOLDS
from domain.inventory.rules import COMMITTED, EXPIRED, HELD, PAID, RELEASED

#: Of holds that are ended for many jobs at once: which job each hold is ended by, if by any.
Makers: TypeAlias = Mapping[str, str | None]
NOBODY: Makers = {}


@dataclass(frozen=True, slots=True)
class Ending:
    """Why holds end, when, and what the caller knows about single ones (by hold id)."""

    cause: str
    at: datetime
    facts: Mapping[str, Any]


def made_by_each(events: Sequence[NewEvent], holds: Sequence[Doc], makers: Makers) -> list[NewEvent]:
    """The events about holds and their orders, each with the job that ended the hold."""
    by = {subject: makers.get(hold["_id"]) for hold in holds for subject in (hold["_id"], hold["order_id"])}
    return [replace(event, job_id=by.get(event.subject)) for event in events]


def end_holds(changes: Changes, holds: Sequence[Doc], ending: Ending) -> None:
    """Adds the holds' own end to the transaction. It fails its guard where one of them has ended before."""
    state = COMMITTED if ending.cause == PAID else RELEASED
    update = {"$set": {"state": state, "cause": ending.cause, "ended_at": ending.at}}
    taken = [hold["_id"] for hold in holds if hold["order_id"] is not None]
    free = [hold["_id"] for hold in holds if hold["order_id"] is None]
    # An order that takes a reservation meanwhile would not end with it.
    for ids, bound in ((taken, {}), (free, {"order_id": None})):
        query: Doc = {"_id": {"$in": ids}, "state": HELD, **bound}
        if ending.cause == EXPIRED:
            query["expires_at"] = {"$lte": ending.at}
        if ids:
            changes.update(HOLDS, query, update, expect=len(ids), name=f"holds {ending.cause}")


def hold_events(_: Changes, holds: Sequence[Doc], ending: Ending) -> list[NewEvent]:
    """Of an order's hold it is told that it has expired; its other ends are told of the order alone."""
    kind, events = ("hold.expired" if ending.cause == EXPIRED else "hold.released"), list[NewEvent]()
    for hold in holds:
        of_order = {} if hold["order_id"] is None else {"order_id": hold["order_id"]}
        if ending.cause == EXPIRED or not of_order:
            data = {"reservation_id": hold["_id"], "cause": ending.cause} | of_order
            events.append(NewEvent(hold["account_id"], kind, hold["_id"], data))
    return events
