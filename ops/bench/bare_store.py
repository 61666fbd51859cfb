"""The writes that orders cost, in batches of 50, straight into the store: a limit.

Per batch, as API and worker write them: one insert of the jobs into the ledger; one transaction with the
claim, the guarded stock, the accounts' event cursors, the outbox, the events, the orders and the holds; and
the outbox entry's end. The documents are the domain's, made before the clock starts. Nothing is read, locked
or published. Run as a child; see `children`.

In:  {"orders": [[{"sku", "quantity"}, ...], ...], "accounts": ["id"], "batch": 50, "seconds": 4.0}
Out: {"orders": 2000, "seconds": 4.0}
"""

import asyncio
import random
import time
from collections import Counter
from typing import Any

from domain.bootstrap import Services, open_services
from domain.changes import Changes, Doc
from domain.events.models import OUTBOX, NewEvent
from domain.inventory import stock
from domain.inventory.models import HOLDS
from domain.inventory.reservations import new_hold
from domain.inventory.rules import stock_id, units_by_sku
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED, SUCCEEDED, fingerprint, step
from domain.orders.commands import Address, OrderItem, PlaceOrder
from domain.orders.models import ORDERS
from domain.orders.rules import RESERVED, price, reserved_order
from domain.settings import Settings
from domain.values import new_id, utcnow
from ops.bench import children
from ops.bench.client import ADDRESS

PLACED = {"state": SUCCEEDED, "result": {"order_state": RESERVED}}


class Writer:
    """Makes batches ahead of time, and writes them."""

    def __init__(self, services: Services, wanted: dict[str, Any]) -> None:
        self._services = services
        self._wanted = wanted
        self._cursors: dict[str, int] = {}
        self._products: dict[str, Doc] = {}

    async def prepare(self) -> None:
        """Reads what the domain would read for each batch."""
        self._products = await self._services.products.facts(
            item["sku"] for items in self._wanted["orders"] for item in items
        )
        self._cursors = await self._services.events.cursors(self._wanted["accounts"])

    def jobs(self) -> list[Doc]:
        """One batch of orders, as the API accepts them."""
        picked = random.choices(self._wanted["orders"], k=self._wanted["batch"])
        return [_job(items, random.choice(self._wanted["accounts"])) for items in picked]

    def changes(self, jobs: list[Doc]) -> tuple[Changes, str]:
        """What the worker's transaction writes for the batch, and its entry in the outbox."""
        changes, now = Changes(), utcnow()
        self._services.runs.settle(changes, jobs, PLACED, at=now)
        units: Counter[str] = Counter()
        events = []
        for job in jobs:
            wanted = units_by_sku(job["payload"]["items"])
            units.update({stock_id(sku): count for sku, count in wanted.items()})
            order = reserved_order(
                job, price(job["payload"]["items"], self._products), hold_id=job["_id"], now=now
            )
            hold_time = self._services.settings.orders.hold_time
            changes.insert(ORDERS, [order])
            changes.insert(HOLDS, [new_hold(job, wanted, order_id=job["_id"], now=now, hold_time=hold_time)])
            data = {"order_id": job["_id"], "state": RESERVED, "net": order["net"], "currency": "USD"}
            events.append(NewEvent(job["owner"], "order.reserved", job["_id"], data))
        stock.take(changes, units)
        recorded = self._services.events.record(changes, events, cursors=self._cursors, at=now)
        for event in events:
            self._cursors[event.account_id] += 1
        return changes, recorded.outbox_id

    async def write(self, jobs: list[Doc], changes: Changes, outbox_id: str) -> None:
        """One batch, from the ledger to the outbox."""
        database = self._services.database
        await database[JOBS].insert_many(jobs, ordered=False)
        await changes.commit(database)
        await database[OUTBOX].delete_one({"_id": outbox_id})


def _job(items: list[dict[str, Any]], owner: str) -> Doc:
    command = PlaceOrder(
        items=tuple(OrderItem(**item) for item in items), address=Address.model_validate(ADDRESS)
    )
    job_id, now, payload = new_id(), utcnow(), command.payload()
    return {
        "_id": job_id,
        "kind": command.kind,
        "pool": command.pool,
        "owner": owner,
        "key": new_id(),
        "fingerprint": fingerprint(payload),
        "payload": payload,
        "state": QUEUED,
        "attempts": 0,
        "created_at": now,
        "not_before": now,
        "history": [step(QUEUED, now)],
        "request_id": job_id,
        "subject": job_id,
    }


async def main() -> None:
    """Writes for so many seconds, and answers."""
    wanted = children.question()
    async with open_services(Settings()) as services:
        writer = Writer(services, wanted)
        await writer.prepare()
        spent, count = 0.0, 0
        while spent < wanted["seconds"]:
            jobs = writer.jobs()
            changes, outbox_id = writer.changes(jobs)
            began = time.perf_counter()
            await writer.write(jobs, changes, outbox_id)
            spent += time.perf_counter() - began
            count += len(jobs)
        children.answer({"orders": count, "seconds": round(spent, 3)})


if __name__ == "__main__":
    asyncio.run(main())
