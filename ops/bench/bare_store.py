"""The writes that orders cost, in batches of 50, straight into the store: two limits.

Per batch, as API and worker write them: one insert of the jobs into the ledger; one transaction with the
claim, the guarded stock, the accounts' event cursors, the outbox, the events, the orders and the holds; and
the outbox entry's end. With `ledger` the first of these alone: what accepting an order writes. The documents
are the domain's, made before the clock starts. Nothing is read, locked or published. Run as a child; see
`children`.

In:  {"orders": [[{"sku", "quantity"}, ...], ...], "accounts": ["id"], "batch": 50, "seconds": 4.0,
      "ledger": false}
Out: {"orders": 2000, "seconds": 4.0}
"""

import asyncio
import random
import time
from datetime import timedelta
from functools import partial
from typing import Any

from domain.bootstrap import Services, open_services
from domain.changes import Changes, Doc
from domain.events.models import OUTBOX
from domain.inventory import stock
from domain.inventory.rules import Shelf, stock_id
from domain.jobs.acceptance import new_job
from domain.jobs.models import JOBS
from domain.orders.commands import Address, OrderItem, PlaceOrder
from domain.settings import Settings
from domain.values import new_id, utcnow
from ops.bench import children
from ops.bench.client import ADDRESS

#: As the ledger's default has it.
RESEND_AFTER = timedelta(minutes=10)


class Writer:
    """Makes batches ahead of time, and writes them."""

    def __init__(self, services: Services, wanted: dict[str, Any]) -> None:
        self._services = services
        self._wanted = wanted
        self._placement = services.order_placing.placement

    def jobs(self) -> list[Doc]:
        """One batch of orders, as the API accepts them."""
        picked = random.choices(self._wanted["orders"], k=self._wanted["batch"])
        return [_job(items, random.choice(self._wanted["accounts"])) for items in picked]

    async def changes(self, jobs: list[Doc]) -> tuple[Changes, str]:
        """What the worker's transaction writes for the batch, and its entry in the outbox."""
        services, changes, now = self._services, Changes(), utcnow()
        facts = await self._placement.read(jobs)
        skus = {item["sku"] for job in jobs for item in job["payload"]["items"]}
        shelf = Shelf(await stock.levels(services.database, map(stock_id, skus)))
        decisions = [self._placement.decide(job, facts, shelf, now) for job in jobs]
        services.runs.settle(changes, jobs, decisions[0].ending, at=now)
        stock.take(changes, shelf.taken, shelf.levels)
        cursors = await services.events.cursors([job["owner"] for job in jobs])
        events = [event for decision in decisions for event in decision.events]
        recorded = services.events.record(changes, events, cursors=cursors, at=now)
        for decision in decisions:
            for collection, document in decision.inserts.items():
                changes.insert(collection, [document])
        return changes, recorded.outbox_id

    async def accept(self, jobs: list[Doc]) -> None:
        """One batch, into the ledger."""
        await self._services.database[JOBS].insert_many(jobs, ordered=False)

    async def write(self, jobs: list[Doc], changes: Changes, outbox_id: str) -> None:
        """One batch, from the ledger to the outbox."""
        database = self._services.database
        await self.accept(jobs)
        await changes.commit(database)
        await database[OUTBOX].delete_one({"_id": outbox_id})


def _job(items: list[dict[str, Any]], owner: str) -> Doc:
    address = Address.model_validate(ADDRESS)
    command = PlaceOrder(items=tuple(OrderItem(**item) for item in items), address=address)
    return new_job(command, owner=owner, key=new_id(), now=utcnow(), resend_after=RESEND_AFTER)


async def main() -> None:
    """Writes for so many seconds, and answers. What is written of the ledger alone, nobody would work off."""
    wanted = children.question()
    async with open_services(Settings()) as services:
        writer = Writer(services, wanted)
        spent, count = 0.0, 0
        while spent < wanted["seconds"]:
            jobs = writer.jobs()
            work = partial(writer.accept, jobs)
            if not wanted["ledger"]:
                work = partial(writer.write, jobs, *await writer.changes(jobs))
            began = time.perf_counter()
            await work()
            spent += time.perf_counter() - began
            count += len(jobs)
        if wanted["ledger"]:
            await services.database.client.drop_database(services.database.name)
        children.answer({"orders": count, "seconds": round(spent, 3)})


if __name__ == "__main__":
    asyncio.run(main())
