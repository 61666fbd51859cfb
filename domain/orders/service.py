"""Orders as clients see them, and how they end without being paid."""

from collections.abc import Sequence
from datetime import datetime

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc
from domain.errors import Conflict, NotFound, OrderNotCancellable, OrderNotFound, TryAgain
from domain.events.models import NewEvent
from domain.inventory.endings import Ending
from domain.inventory.holds import Holds
from domain.inventory.rules import CANCELLED as HOLD_CANCELLED
from domain.inventory.rules import EXPIRED as HOLD_EXPIRED
from domain.inventory.rules import PAID as HOLD_PAID
from domain.jobs.rules import FAILED
from domain.jobs.service import Jobs
from domain.metrics import EXPIRIES
from domain.orders import states
from domain.orders.commands import PlaceOrder
from domain.orders.listing import OrderQuery, wanted
from domain.orders.models import ORDERS, PAYMENTS
from domain.orders.rules import CANCELLED, EXPIRED, PAID, RESERVED, SYSTEM, moment, pending_view, view
from domain.orders.steps import order_event
from domain.orders.unpaid import Unpaid
from domain.values import Clock

#: What becomes of an order when its hold ends.
ORDER_STATE = {HOLD_PAID: PAID, HOLD_EXPIRED: EXPIRED, HOLD_CANCELLED: CANCELLED}


class Orders:
    """Verbs and queries of orders. Placing is in `placing`, paying in `payments`."""

    def __init__(self, *, database: Database, holds: Holds, jobs: Jobs, unpaid: Unpaid, clock: Clock) -> None:
        self._database = database
        self._unpaid = unpaid
        self._clock = clock
        self._holds = holds
        self._jobs = jobs
        # Many clients look at once: their reads become one.
        self._reads: Batcher[str, Doc | None] = Batcher(self._read)
        self._payments: Batcher[str, list[Doc]] = Batcher(self._read_payments)
        holds.on_end(end_orders)
        holds.on_extend(extend_orders)
        jobs.on_cancel(PlaceOrder.kind, _cancelled_before_it_was)

    async def get(self, order_id: str, *, owner: str | None) -> Doc:
        """The order as it is shown; `pending` from the ledger until it exists. Raises OrderNotFound."""
        order = await self._reads.submit(order_id)
        if order is None:
            return await self._pending(order_id, owner)
        if owner is not None and order["account_id"] != owner:
            raise OrderNotFound(order=order_id)
        return view(order, payments=await self._payments.submit(order_id))

    async def _pending(self, order_id: str, owner: str | None) -> Doc:
        return pending_view(await self._placing(order_id, owner))

    async def _placing(self, order_id: str, owner: str | None) -> Doc:
        """The job that places the order: other jobs have ids of the same form."""
        try:
            job = await self._jobs.get(order_id, owner=owner)
        except NotFound as error:
            raise OrderNotFound(order=order_id) from error
        if job["kind"] != PlaceOrder.kind:
            raise OrderNotFound(order=order_id)
        return job

    async def page(self, query: OrderQuery) -> list[Doc]:
        """Orders as they are shown, newest first; without payments."""
        rows = self._database[ORDERS].find(wanted(query, now=self._clock()))
        found = await rows.sort("_id", -1).limit(query.limit).to_list()
        return [view(row, payments=()) for row in found]

    async def _read(self, order_ids: list[str]) -> list[Doc | None]:
        rows = self._database[ORDERS].find({"_id": {"$in": sorted(set(order_ids))}})
        found = {row["_id"]: row async for row in rows}
        return [found.get(order_id) for order_id in order_ids]

    async def _read_payments(self, order_ids: list[str]) -> list[list[Doc]]:
        rows = self._database[PAYMENTS].find({"order_id": {"$in": sorted(set(order_ids))}}).sort("_id")
        found: dict[str, list[Doc]] = {}
        async for row in rows:
            found.setdefault(row["order_id"], []).append(row)
        return [found.get(order_id, []) for order_id in order_ids]

    async def cancel(
        self, order_id: str, *, owner: str | None, by: str | None = None, reason: str | None = None
    ) -> Doc:
        """Cancels a pending or reserved order and gives its stock back. Cancelled before, it changes nothing.

        So it does with a paid order whose money the provider did not hand over, see `Unpaid`.
        `owner` is whose order it has to be; None for staff, who say `by` whom. Raises OrderNotFound,
        OrderNotCancellable, and TryAgain.
        """
        actor = by or owner or SYSTEM
        order = await self._database[ORDERS].find_one({"_id": order_id})
        if order is None:
            if await self._cancel_pending(order_id, owner, actor, reason):
                return {"order_state": CANCELLED}
            order = await self._database[ORDERS].find_one({"_id": order_id})
        if order is None:
            msg = "the order is neither placed nor cancelled"
            raise TryAgain(msg)
        if owner not in (None, order["account_id"]):
            raise OrderNotFound(order=order_id)
        if order["state"] == RESERVED:
            # Without more to tell than that the customer did it, many are cancelled together.
            told = reason is not None or actor != order["account_id"]
            facts = {order["hold_id"]: {"actor": actor, "reason": reason}} if told else None
            await self._holds.end([order["hold_id"]], cause=HOLD_CANCELLED, facts=facts)
            order = await self._database[ORDERS].find_one({"_id": order_id}) or order
        if order["state"] == PAID:
            order = await self._unpaid.cancel(order_id, actor=actor, reason=reason)
        if order["state"] != CANCELLED:
            raise OrderNotCancellable(**states.refusal(order, CANCELLED))
        return {"order_state": CANCELLED}

    async def _cancel_pending(self, order_id: str, owner: str | None, by: str, reason: str | None) -> bool:
        """False where it was placed meanwhile: the order is there now."""
        await self._placing(order_id, owner)
        try:
            await self._jobs.cancel(order_id, owner=owner, by=by, reason=reason)
        except Conflict:
            return False
        return True

    async def expire(self, hold_ids: Sequence[str]) -> Doc:
        """Ends those of the holds whose time is over, with their orders; answers how many."""
        ended = await self._holds.end(hold_ids, cause=HOLD_EXPIRED)
        EXPIRIES.labels("scheduler").inc(len(ended))
        return {"expired": len(ended)}


def end_orders(changes: Changes, holds: Sequence[Doc], ending: Ending) -> list[NewEvent]:
    """What an ended hold means for its order: paid, expired or cancelled, in the same transaction."""
    state = ORDER_STATE.get(ending.cause)
    mine = [hold for hold in holds if hold["order_id"] is not None]
    if state is None or not mine:
        return []
    if state == EXPIRED:
        _end_together(changes, mine, moment(state, ending.at, reason="its hold's time was over"))
    elif state == CANCELLED:
        return _end_cancelled(changes, mine, ending)
    else:
        for hold in mine:
            payment_id = ending.facts[hold["_id"]]
            line = moment(state, ending.at, actor=hold["account_id"], reason=f"payment {payment_id}")
            paid_by = {"$set": {"state": state, "payment_id": payment_id}, "$push": {"timeline": line}}
            query = {"_id": hold["order_id"], "state": RESERVED}
            changes.update(ORDERS, query, paid_by, expect=1, name="order paid")
        return [_paid(hold, ending.facts[hold["_id"]]) for hold in mine]
    return [order_event(hold["account_id"], hold["order_id"], state) for hold in mine]


def _paid(hold: Doc, payment_id: str) -> NewEvent:
    data = {"order_id": hold["order_id"], "state": PAID, "payment_id": payment_id}
    return NewEvent(hold["account_id"], "order.paid", hold["order_id"], data, payment_id)


def _end_cancelled(changes: Changes, holds: Sequence[Doc], ending: Ending) -> list[NewEvent]:
    """What is known of one that staff cancel, or somebody with a reason; else its customer did."""
    groups: dict[tuple[str, str | None], list[Doc]] = {}
    for hold in holds:
        known = ending.facts.get(hold["_id"]) or {"actor": hold["account_id"], "reason": None}
        groups.setdefault((known["actor"], known["reason"]), []).append(hold)
    events = []
    for (actor, reason), ended in groups.items():
        _end_together(changes, ended, moment(CANCELLED, ending.at, actor=actor, reason=reason))
        events += [
            order_event(hold["account_id"], hold["order_id"], CANCELLED, reason=reason) for hold in ended
        ]
    return events


def _end_together(changes: Changes, holds: Sequence[Doc], line: Doc) -> None:
    update = {"$set": {"state": line["state"]}, "$push": {"timeline": line}}
    query = {"_id": {"$in": [hold["order_id"] for hold in holds]}, "state": RESERVED}
    changes.update(ORDERS, query, update, expect=len(holds), name=f"orders {line['state']}")


def _cancelled_before_it_was(job: Doc, reason: str | None) -> list[NewEvent]:
    # One that was rejected stays so, although its job was to run again.
    rejected = any(each["state"] == FAILED for each in job.get("history") or ())
    return [] if rejected else [order_event(job["owner"], job["_id"], CANCELLED, reason=reason)]


def extend_orders(changes: Changes, holds: Sequence[Doc], until: datetime) -> None:
    """An order that waits for a payment lasts as long as its hold."""
    mine = [hold["order_id"] for hold in holds if hold["order_id"] is not None]
    if mine:
        query = {"_id": {"$in": mine}, "state": RESERVED}
        longer = {"$max": {"expires_at": until}}
        changes.update(ORDERS, query, longer, expect=len(mine), name="orders to extend")
