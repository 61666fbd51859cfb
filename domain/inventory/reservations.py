"""Reservations: stock held before there is an order. Placed in batches, as orders are."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from domain.changes import Doc
from domain.errors import Conflict, DomainError, HoldNotFound, NotFound, OutOfStock, UnknownSku
from domain.events.models import NewEvent
from domain.inventory.commands import Reserve
from domain.inventory.holds import Holds
from domain.inventory.models import HOLDS
from domain.inventory.placing import Decision, Placement
from domain.inventory.rules import GIVEN_BACK, HELD, Shelf, units_by_sku
from domain.jobs.outcomes import error_form
from domain.jobs.rules import CANCELLED, FAILED, SUCCEEDED
from domain.jobs.service import Jobs
from domain.products.rules import SkuFacts, require_sellable
from domain.products.service import Products

#: Of the SKUs of a batch, those that are known.
Facts: TypeAlias = dict[str, SkuFacts]

#: What a reservation is that exists only as its job. One whose job is dead may still be made, by a replay.
JOB_SHOWN = {FAILED: "rejected", CANCELLED: "cancelled"}


class Reservations:
    """What reservations are read and released by; `placement` is how they are made."""

    def __init__(self, *, holds: Holds, jobs: Jobs) -> None:
        self._holds = holds
        self._jobs = jobs

    async def release(self, reservation_id: str, *, owner: str) -> dict[str, str]:
        """Gives the stock back, or sees to it that none is taken. Ended before, it changes nothing.

        Raises HoldNotFound, also where an order has taken it.
        """
        if await self._holds.get(reservation_id) is None:
            await self._cancel_pending(reservation_id, owner)
        await self._untaken(reservation_id, owner)
        if not await self._holds.end([reservation_id], cause=GIVEN_BACK):
            await self._untaken(reservation_id, owner)
        return {"reservation_id": reservation_id}

    async def _cancel_pending(self, reservation_id: str, owner: str) -> None:
        try:
            await self._jobs.cancel(reservation_id, owner=owner, by=owner)
        except NotFound as error:
            raise HoldNotFound(reservation=reservation_id) from error
        except Conflict:
            # It was settled meanwhile: there is a hold now, or none was to be had.
            return

    async def _untaken(self, reservation_id: str, owner: str) -> None:
        hold = await self._holds.get(reservation_id)
        if hold is not None and (hold["account_id"] != owner or hold["order_id"] is not None):
            raise HoldNotFound(reservation=reservation_id)

    async def get(self, reservation_id: str, *, owner: str | None) -> Doc:
        """The hold; until there is one, its job stands for it, in state `pending` or `rejected`.

        Raises HoldNotFound.
        """
        hold = await self._holds.get(reservation_id)
        if hold is not None and (owner is None or hold["account_id"] == owner):
            return hold
        try:
            job = await self._jobs.get(reservation_id, owner=owner)
        except NotFound as error:
            raise HoldNotFound(reservation=reservation_id) from error
        if job["kind"] != "inventory.reserve":
            raise HoldNotFound(reservation=reservation_id)
        return {"_id": reservation_id, "state": JOB_SHOWN.get(job["state"], "pending"), "job": job}


def placement(hold_time: timedelta, products: Products) -> Placement[Facts]:
    """How `inventory.reserve` takes stock: of what is for sale, as an order does."""

    async def read(jobs: Sequence[Doc]) -> Facts:
        return await products.facts(sku for job in jobs for sku in wants(job))

    def decide(job: Doc, facts: Facts, shelf: Shelf, now: datetime) -> Decision:
        units = wants(job)
        error = _unsellable(units, facts) or refusal(units, shelf)
        if error is not None:
            short = [line["sku"] for line in error.detail.get("lines", ())]
            return Decision(job, {"state": FAILED, "error": error_form(error)}, short=short)
        hold = new_hold(job, shelf.take(units), order_id=None, now=now, hold_time=hold_time)
        event = NewEvent(job["owner"], "hold.held", job["_id"], {"reservation_id": job["_id"]})
        ending = {"state": SUCCEEDED, "result": {"state": HELD}}
        return Decision(job, ending, inserts={HOLDS: hold}, events=[event])

    return Placement(name="reserve", kind=Reserve.kind, wants=wants, read=read, decide=decide)


def wants(job: Doc) -> Counter[str]:
    """Units by SKU."""
    return units_by_sku(job["payload"]["items"])


def refusal(units: Counter[str], shelf: Shelf) -> DomainError | None:
    """Why the units cannot be taken; None when they can."""
    unknown = sorted(sku for sku in units if not shelf.knows(sku))
    if unknown:
        return UnknownSku(skus=unknown)
    short = shelf.short(units)
    return OutOfStock(lines=[each.as_detail() for each in short]) if short else None


def new_hold(
    job: Doc, lines: Sequence[Doc], *, order_id: str | None, now: datetime, hold_time: timedelta
) -> Doc:
    """The hold that a job takes, under the job's own id; `lines` are what `Shelf.take` answered."""
    return {
        "_id": job["_id"],
        "account_id": job["owner"],
        "order_id": order_id,
        "state": HELD,
        "lines": list(lines),
        "created_at": now,
        "due_at": now + hold_time,
        "expires_at": now + hold_time,
    }


def _unsellable(units: Counter[str], facts: Facts) -> DomainError | None:
    try:
        require_sellable(units, facts)
    except DomainError as error:
        return error
    return None
