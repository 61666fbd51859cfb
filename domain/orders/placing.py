"""How `orders.place` takes stock: the orders' part of the placing engine."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from domain.changes import Changes, Database, Doc
from domain.discounts.redemptions import Offers, Redemptions
from domain.errors import DomainError
from domain.events.models import NewEvent
from domain.inventory.models import HOLDS
from domain.inventory.placing import Decision, Placement
from domain.inventory.reservations import new_hold, refusal
from domain.inventory.rules import HELD, Shelf, units_by_sku
from domain.jobs.rules import FAILED, SUCCEEDED
from domain.orders.commands import PlaceOrder
from domain.orders.expected import surprise
from domain.orders.models import ORDERS
from domain.orders.pricing import Priced, Rates, price_order
from domain.orders.redeeming import asks, code_locks, codes_of, refused, used_up
from domain.orders.rules import (
    REJECTED,
    RESERVED,
    rejected_order,
    replays_since_rejected,
    reservation_error,
    reserved_order,
)
from domain.orders.tables import Tables
from domain.products.service import Products

#: A rejected order's job ends with this; the order's `rejection` has the lines.
_FAILED = {"state": FAILED}
_PLACED = {"state": SUCCEEDED, "result": {"order_state": RESERVED}}


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What is read for a batch of orders beside its stock."""

    products: dict[str, Doc]
    reservations: dict[str, Doc]
    #: Orders that an earlier run rejected and that ops replay, by id.
    rejected: dict[str, Doc]
    #: Discounts that orders name, and the automatic ones; with what the batch has taken of them.
    offers: Offers
    rates: Rates


@dataclass(frozen=True, slots=True)
class OrderPlacing:
    """Decides orders."""

    database: Database
    products: Products
    redemptions: Redemptions
    tables: Tables
    hold_time: timedelta
    currency: str

    def placement(self) -> Placement[OrderFacts]:
        """What the engine needs."""
        return Placement(
            name="place",
            kind=PlaceOrder.kind,
            wants=_wants,
            read=self.read,
            decide=self.decide,
            add=_take_discounts,
            locks=code_locks,
        )

    async def read(self, jobs: Sequence[Doc]) -> OrderFacts:
        """Products of all lines, discounts, the reservations that orders carry, what was decided before."""
        products, offers, rates = await asyncio.gather(
            self.products.facts(item["sku"] for job in jobs for item in job["payload"]["items"]),
            self.redemptions.offers(asks(jobs)),
            self.tables.rates(),
        )
        wanted = [job["payload"]["reservation_id"] for job in jobs if job["payload"].get("reservation_id")]
        rows = await self.database[HOLDS].find({"_id": {"$in": wanted}}).to_list() if wanted else []
        return OrderFacts(
            products=products,
            reservations={row["_id"]: row for row in rows},
            rejected=await self._rejected_before(jobs),
            offers=offers,
            rates=rates,
        )

    async def _rejected_before(self, jobs: Sequence[Doc]) -> dict[str, Doc]:
        replayed = [job["_id"] for job in jobs if any(each["state"] == FAILED for each in job["history"])]
        if not replayed:
            return {}
        rows = self.database[ORDERS].find({"_id": {"$in": replayed}, "state": REJECTED}, {"timeline": 1})
        return {row["_id"]: row async for row in rows}

    def decide(self, job: Doc, facts: OrderFacts, shelf: Shelf, now: datetime) -> Decision:
        """Reserved, or rejected by itself: one that does not fit takes nothing from the others."""
        decision = self._decide(job, facts, shelf, now)
        before = facts.rejected.get(job["_id"])
        return _instead(before, decision) if before else decision

    def _decide(self, job: Doc, facts: OrderFacts, shelf: Shelf, now: datetime) -> Decision:
        try:
            priced = self._price(job, facts, now)
        except DomainError as error:
            return self._rejected(job, error, None, now)
        unwanted = surprise(job["payload"], priced) or refused(priced.discounted)
        if unwanted is not None:
            rejected = self._rejected(job, unwanted, priced, now)
            return replace(rejected, short=used_up(priced.discounted, facts.offers))
        if job["payload"].get("reservation_id"):
            return self._from_reservation(job, facts, priced, now)
        units = units_by_sku(job["payload"]["items"])
        short = refusal(units, shelf)
        if short is not None:
            return self._rejected(job, short, priced, now)
        lines = shelf.take(units)
        hold = new_hold(job, lines, order_id=job["_id"], now=now, hold_time=self.hold_time)
        order = reserved_order(job, priced, hold=hold, now=now) | _uses(job, priced, facts, now)
        hold |= {"redemptions": order["redemptions"]}
        return Decision(job, _PLACED, inserts={ORDERS: order, HOLDS: hold}, events=[_reserved(order)])

    @staticmethod
    def _price(job: Doc, facts: OrderFacts, now: datetime) -> Priced:
        codes = codes_of(job)
        discounts = partial(facts.offers.apply, codes=codes, at=now)
        return price_order(
            job["payload"]["items"],
            facts.products,
            rates=facts.rates,
            country=job["payload"]["address"]["country"],
            discounts=discounts if codes or facts.offers.rows else None,
            account_id=job["owner"],
        )

    def _from_reservation(self, job: Doc, facts: OrderFacts, priced: Priced, now: datetime) -> Decision:
        hold_id = job["payload"]["reservation_id"]
        error = reservation_error(job, facts.reservations.get(hold_id), now=now)
        if error is not None:
            return self._rejected(job, error, priced, now)
        hold = facts.reservations[hold_id]
        # The next order of this batch must not use it too.
        hold["order_id"] = job["_id"]
        order = reserved_order(job, priced, hold=hold, now=now) | _uses(job, priced, facts, now)
        taken = {"order_id": job["_id"], "redemptions": order["redemptions"]}

        def bind(changes: Changes) -> None:
            query = {"_id": hold_id, "state": HELD, "order_id": None, "expires_at": {"$gt": now}}
            changes.update(HOLDS, query, {"$set": taken}, expect=1, name="reservation")

        return Decision(job, _PLACED, inserts={ORDERS: order}, events=[_reserved(order)], guard=bind)

    def _rejected(self, job: Doc, error: DomainError, priced: Priced | None, now: datetime) -> Decision:
        order = rejected_order(job, error, priced, currency=self.currency, now=now)
        data = {"order_id": job["_id"], "state": REJECTED, "code": error.code}
        return Decision(
            job,
            _FAILED | {"error": {"code": error.code, "message": error.message, "detail": {}}},
            inserts={ORDERS: order},
            events=[NewEvent(job["owner"], "order.rejected", job["_id"], data)],
            short=[line["sku"] for line in error.detail.get("lines", ())],
        )


def _uses(job: Doc, priced: Priced, facts: OrderFacts, now: datetime) -> Doc:
    """The uses of discounts that the order takes, as it and its hold carry them."""
    order = {"order_id": job["_id"], "account_id": job["owner"], "currency": priced.currency}
    return {"redemptions": facts.offers.take(priced.discounted, at=now, **order)}


def _take_discounts(facts: OrderFacts, changes: Changes, now: datetime) -> list[NewEvent]:
    return facts.offers.add_to(changes, at=now)


def _instead(before: Doc, decision: Decision) -> Decision:
    """The new decision takes the rejected order's place: one job has one order."""
    inserts = dict(decision.inserts)
    order = inserts.pop(ORDERS)
    timeline = [*before["timeline"], *replays_since_rejected(decision.job), order["timeline"][-1]]
    fields = {"rejection": None} | order | {"timeline": timeline}
    del fields["_id"]

    def put(changes: Changes) -> None:
        if decision.guard is not None:
            decision.guard(changes)
        query = {"_id": before["_id"], "state": REJECTED}
        changes.update(ORDERS, query, {"$set": fields}, expect=1, name="rejected order")

    return replace(decision, inserts=inserts, guard=put)


def _wants(job: Doc) -> Counter[str]:
    """Units by SKU that come from stock: none where a reservation holds them already."""
    return Counter() if job["payload"].get("reservation_id") else units_by_sku(job["payload"]["items"])


def _reserved(order: Doc) -> NewEvent:
    data = {
        "order_id": order["_id"],
        "state": RESERVED,
        "net": order["net"],
        "total": order["total"],
        "currency": order["currency"],
    }
    return NewEvent(order["account_id"], "order.reserved", order["_id"], data)
