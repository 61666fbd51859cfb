"""Reserving an expired order again, for a payment that came too late."""

from datetime import datetime, timedelta

from domain.changes import Database, Doc
from domain.events.models import NewEvent
from domain.inventory import stock
from domain.inventory.allocation import Allocation
from domain.inventory.holds import Holds
from domain.inventory.models import HOLDS
from domain.inventory.reservations import new_hold
from domain.inventory.rules import units_by_sku
from domain.orders.models import GOES_BACK, PAYMENTS
from domain.orders.rules import EXPIRED, RESERVED, moment
from domain.orders.steps import Step, Steps
from domain.values import new_id


class Reserving:
    """Takes an expired order's stock again, where it is still there."""

    def __init__(
        self, *, database: Database, holds: Holds, steps: Steps, allocation: Allocation, hold_time: timedelta
    ) -> None:
        self._database = database
        self._holds = holds
        self._steps = steps
        self._allocation = allocation
        self._hold_time = hold_time

    async def again(self, order_id: str, *, payment_id: str) -> Doc:
        """The order: reserved, or as it was where its stock is gone or its discounts were given back."""

        async def reserve(order: Doc, at: datetime) -> Step | None:
            payment = await self._database[PAYMENTS].find_one({"_id": payment_id})
            lost = payment is None or payment.get(GOES_BACK)
            if lost or order["state"] != EXPIRED or order.get("redemptions"):
                return None
            return await self._reserve(order, payment_id, at)

        return await self._steps.take(order_id, reserve)

    async def _reserve(self, order: Doc, payment_id: str, at: datetime) -> Step | None:
        units = units_by_sku(order["lines"])
        shelf = await self._allocation.shelf(units)
        if shelf.short(units) and await self._holds.reclaim(units):
            shelf = await self._allocation.shelf(units)
        if any(not shelf.knows(sku) for sku in units) or shelf.short(units):
            return None
        lines = shelf.take(units)
        job = {"_id": new_id(), "owner": order["account_id"]}
        hold = new_hold(job, lines, order_id=order["_id"], now=at, hold_time=self._hold_time)
        line = moment(RESERVED, at, reason=f"payment {payment_id} came late")
        data = {"order_id": order["_id"], "state": RESERVED, "currency": order["currency"], "late": True}
        step = Step(
            {
                "$set": {"state": RESERVED, "hold_id": hold["_id"], "expires_at": hold["expires_at"]},
                "$push": {"timeline": line},
            },
            [NewEvent(order["account_id"], "order.reserved", order["_id"], data)],
        )
        step.events = [*step.events, *stock.take(step.changes, shelf.taken, shelf.levels)]
        step.changes.insert(HOLDS, [hold])
        return step
