"""What tests are about, made in one line each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from domain.bootstrap import Ports, Services, wire
from domain.inventory.commands import Item, Reserve
from domain.jobs.models import Accepted
from domain.orders.commands import Address, OrderItem, PayOrder, PlaceOrder
from domain.settings import Settings
from domain.values import Clock, Money, new_id
from workers.handles import run_job
from workers.kinds import HANDLED

ADDRESS = Address(name="Ada", line1="1 Dock Road", city="Leith", country="GB")


async def eventually(condition: Callable[[], Awaitable[Any] | Any], *, within: float = 10.0) -> None:
    """Returns once the condition holds; raises TimeoutError when it does not in time."""
    async with asyncio.timeout(within):
        while True:
            answer = condition()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.005)


async def set_price(services: Services, sku: str, amount: int) -> None:
    """Another price from now on, as pricing reads it."""
    query = {"_id": sku}
    changed = await services.database["skus"].update_one(query, {"$set": {"price.amount": amount}})
    assert changed.matched_count == 1, sku


async def withdraw(services: Services, sku: str) -> None:
    """Not for sale any more, as pricing reads it."""
    changed = await services.database["skus"].update_one({"_id": sku}, {"$set": {"sellable": False}})
    assert changed.matched_count == 1, sku


def rewired(
    services: Services, *, settings: Settings | None = None, clock: Clock | None = None, **ports: Any
) -> Services:
    """Other services over the same store, as of another process, with some ports replaced."""
    known = Ports(
        database=services.database,
        queue=services.queue,
        locks=services.holds._locks,
        pubsub=services.pubsub,
        cache=services.signals._cache,
        leadership=services.leadership,
        provider=services.order_payments._provider,
        objects=services.objects,
        uploads=services.media.uploads._uploads,
        signer=services.media.delivery._signer,
        webhooks=services.webhooks.sender,
        mailer=services.post._mailer,
    )
    return wire(
        replace(known, **ports),
        settings=settings or services.settings,
        clock=clock or services.clock,
        accounts=services.accounts,
        pings={},
    )


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop over real services, without HTTP and without worker processes: verbs are called here."""

    services: Services

    async def stock(self, **units: int) -> None:
        """Products by SKU with so many units each, at 10.00."""
        for sku, quantity in units.items():
            await self.services.inventory.introduce(
                sku=sku, name=sku, price=Money(amount=1000), category="Goods"
            )
            if quantity:
                await self.adjust(sku, quantity)

    async def adjust(self, sku: str, quantity: int) -> None:
        """A movement of so many units."""
        await self.services.inventory.adjust(
            sku=sku, quantity=quantity, reason="test", actor="tester", key=new_id()
        )

    async def submit(
        self,
        *,
        owner: str = "ada",
        key: str | None = None,
        reservation: str | None = None,
        codes: tuple[str, ...] | None = None,
        **units: int,
    ) -> Accepted:
        """An order that is accepted and waits in the ledger."""
        items = tuple(OrderItem(sku=sku, quantity=quantity) for sku, quantity in units.items())
        command = PlaceOrder(items=items, address=ADDRESS, reservation_id=reservation, codes=codes)
        return await self.services.jobs.submit(command, owner=owner, key=key or new_id())

    async def place(
        self,
        *,
        owner: str = "ada",
        reservation: str | None = None,
        codes: tuple[str, ...] | None = None,
        **units: int,
    ) -> dict[str, Any]:
        """An order that a worker has settled, as its owner sees it."""
        accepted = await self.submit(owner=owner, key=None, reservation=reservation, codes=codes, **units)
        await self.services.order_placing.settle(accepted.job_id)
        return await self.order(accepted.job_id, owner=owner)

    async def order(self, order_id: str, *, owner: str | None = None) -> dict[str, Any]:
        """The order as it is shown."""
        return await self.services.orders.get(order_id, owner=owner)

    async def pay(
        self, order_id: str, *, owner: str = "ada", source: str = "sandbox:approve"
    ) -> dict[str, Any]:
        """One payment attempt by a worker."""
        return await self.services.order_payments.pay(
            order_id, payment_id=new_id(), source=source, owner=owner
        )

    async def submit_payment(
        self, order_id: str, *, owner: str = "ada", source: str = "sandbox:approve"
    ) -> str:
        """A payment that is accepted and waits in the ledger; its id."""
        command = PayOrder(order_id=order_id, source=source)
        return (await self.services.jobs.submit(command, owner=owner, key=new_id())).job_id

    async def work(self, job_id: str) -> dict[str, Any]:
        """What a worker does with the job's message; the job afterwards."""
        job = await self.job(job_id)
        await run_job(HANDLED[job["kind"]], self.services, job_id)
        return await self.job(job_id)

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job as the ledger has it."""
        return await self.services.jobs.get(job_id, owner=None)

    async def reserve(self, *, owner: str = "ada", **units: int) -> str:
        """A reservation that a worker has settled; its id."""
        items = tuple(Item(sku=sku, quantity=quantity) for sku, quantity in units.items())
        accepted = await self.services.jobs.submit(Reserve(items=items), owner=owner, key=new_id())
        await self.services.reservation_placing.settle(accepted.job_id)
        return accepted.job_id

    async def levels(self, sku: str) -> tuple[int, int]:
        """(available, reserved)."""
        (row,) = await self.services.inventory.levels(sku)
        return row["available"], row["reserved"]

    async def check_books(self) -> None:
        """P3 for every SKU, and that orders and holds agree. Raises AssertionError with what differs."""
        await check_books(self.services)


async def check_books(services: Services) -> None:
    """P3: available >= 0; reserved is the sum of held lines; available + reserved is the sum of movements."""
    database = services.database
    stock, movements, holds, orders = await asyncio.gather(
        database["stock"].find().to_list(),
        database["stock_movements"].find().to_list(),
        database["holds"].find().to_list(),
        database["orders"].find().to_list(),
    )
    moved = _sum((row["stock_id"], row["quantity"]) for row in movements)
    held = _sum(
        (line["stock_id"], line["quantity"])
        for row in holds
        if row["state"] == "held"
        for line in row["lines"]
    )
    for row in stock:
        assert row["available"] >= 0, row
        assert row.get("low", False) == (row.get("low_at") is not None and row["available"] <= row["low_at"])
        assert row["reserved"] == held[row["_id"]], (row, held[row["_id"]])
        assert row["available"] + row["reserved"] == moved[row["_id"]], (row, moved[row["_id"]])
    assert set(moved) <= {row["_id"] for row in stock}
    _check_orders(orders, {row["_id"]: row for row in holds})


def _check_orders(orders: Sequence[Mapping[str, Any]], holds: Mapping[str, Mapping[str, Any]]) -> None:
    expected = {
        "reserved": ("held", None),
        **dict.fromkeys(("paid", "fulfilled", "completed", "refunded"), ("committed", "paid")),
        "expired": ("released", "expired"),
        "cancelled": ("released", "cancelled"),
    }
    for order in orders:
        if order["state"] == "rejected":
            assert order["hold_id"] is None
            continue
        hold = holds[order["hold_id"]]
        # Sold, and cancelled as its money did not come: such an order has had a payment.
        sold = order["state"] == "cancelled" and any(line["state"] == "paid" for line in order["timeline"])
        wanted = expected["paid" if sold else order["state"]]
        assert (hold["state"], hold.get("cause")) == wanted, (order, hold)


def _sum(pairs: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, value in pairs:
        total[name] += value
    return total
