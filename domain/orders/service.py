"""Orders as clients see them, and how they end without being paid."""

from collections.abc import Sequence

from domain.batching import Batcher
from domain.changes import Changes, Database, Doc
from domain.errors import Conflict, NotFound, OrderNotCancellable, OrderNotFound
from domain.events.models import NewEvent
from domain.inventory.holds import Ending, Holds
from domain.inventory.rules import CANCELLED as HOLD_CANCELLED
from domain.inventory.rules import EXPIRED as HOLD_EXPIRED
from domain.inventory.rules import PAID as HOLD_PAID
from domain.jobs.service import Jobs
from domain.metrics import EXPIRIES
from domain.orders.commands import PlaceOrder
from domain.orders.models import ORDERS, PAYMENTS
from domain.orders.rules import CANCELLED, EXPIRED, PAID, RESERVED, moment, pending_view, view

#: What becomes of an order when its hold ends.
ORDER_STATE = {HOLD_PAID: PAID, HOLD_EXPIRED: EXPIRED, HOLD_CANCELLED: CANCELLED}


class Orders:
    """Verbs and queries of orders. Placing is in `placing`, paying in `payments`."""

    def __init__(self, *, database: Database, holds: Holds, jobs: Jobs) -> None:
        self._database = database
        self._holds = holds
        self._jobs = jobs
        # Many clients look at once: their reads become one.
        self._reads: Batcher[str, Doc | None] = Batcher(self._read)
        self._payments: Batcher[str, list[Doc]] = Batcher(self._read_payments)
        holds.on_end(end_orders)

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

    async def page(self, *, owner: str | None, before: str | None, limit: int) -> list[Doc]:
        """Orders as they are shown, newest first, those before `before`; without payments."""
        query: Doc = {"account_id": owner} if owner is not None else {}
        if before:
            query["_id"] = {"$lt": before}
        rows = await self._database[ORDERS].find(query).sort("_id", -1).limit(limit).to_list()
        return [view(row, payments=()) for row in rows]

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

    async def cancel(self, order_id: str, *, owner: str) -> Doc:
        """Cancels a pending or reserved order and gives its stock back. Cancelled before, it changes nothing.

        Raises OrderNotFound and OrderNotCancellable.
        """
        order = await self._database[ORDERS].find_one({"_id": order_id})
        if order is None:
            await self._cancel_pending(order_id, owner)
            order = await self._database[ORDERS].find_one({"_id": order_id})
        if order is None:
            return {"order_state": CANCELLED}
        if order["account_id"] != owner:
            raise OrderNotFound(order=order_id)
        if order["state"] == RESERVED:
            await self._holds.end([order["hold_id"]], cause=HOLD_CANCELLED)
            order = await self._database[ORDERS].find_one({"_id": order_id}) or order
        if order["state"] != CANCELLED:
            raise OrderNotCancellable(order=order_id, state=order["state"])
        return {"order_state": CANCELLED}

    async def _cancel_pending(self, order_id: str, owner: str) -> None:
        await self._placing(order_id, owner)
        try:
            await self._jobs.cancel(order_id, owner=owner, by=owner)
        except Conflict:
            # It was placed meanwhile: the order is there now.
            return

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
    update = {"$set": {"state": state}, "$push": {"timeline": moment(state, ending.at)}}
    if ending.cause == HOLD_PAID:
        for hold in mine:
            paid_by = {
                "$set": {"state": state, "payment_id": ending.facts[hold["_id"]]},
                "$push": update["$push"],
            }
            query = {"_id": hold["order_id"], "state": RESERVED}
            changes.update(ORDERS, query, paid_by, expect=1, name="order paid")
    else:
        query = {"_id": {"$in": [hold["order_id"] for hold in mine]}, "state": RESERVED}
        changes.update(ORDERS, query, update, expect=len(mine), name=f"orders {state}")
    return [
        NewEvent(
            hold["account_id"],
            f"order.{state}",
            hold["order_id"],
            {"order_id": hold["order_id"], "state": state},
        )
        for hold in mine
    ]
