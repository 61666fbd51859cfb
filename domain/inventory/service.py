"""Stock as the API sees it: levels, thresholds, and what people do to it."""

from collections.abc import Iterable
from typing import Any

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import Invalid, NotFound, TryAgain
from domain.events.service import Events
from domain.inventory import stock
from domain.inventory.holds import OTHERS_FIRST, TRIES, pause_before
from domain.inventory.locations import Locations
from domain.inventory.models import MOVEMENTS, STOCK
from domain.inventory.movements import Moved, Movements, Operation
from domain.inventory.news import numbered
from domain.inventory.rules import DEFAULT_LOCATION, Level, lock_key, stock_id
from domain.ports import Locks
from domain.products.forms import NewProduct
from domain.products.service import Products
from domain.values import Clock, Money

MAIN = DEFAULT_LOCATION


class Inventory:
    """Stock per SKU and location. One (actor, key) is one operation of its kind."""

    def __init__(
        self,
        *,
        database: Database,
        products: Products,
        events: Events,
        locks: Locks,
        locations: Locations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._products = products
        self._events = events
        self._locks = locks
        self._locations = locations
        self._clock = clock
        self._movements = Movements(
            database=database, events=events, locks=locks, locations=locations, clock=clock
        )

    async def introduce(self, *, sku: str, name: str, price: Money, category: str) -> Doc:
        """A published product of one variant, with an empty stock. Raises SkuTaken."""
        return await self._products.add(NewProduct(sku=sku, name=name, price=price, category=category))

    async def levels(self, sku: str) -> list[Doc]:
        """The stock of a SKU at each location that has, or had, some, by the locations' priority.

        At a deleted one only where units were returned there since. Raises NotFound.
        """
        places = await self._locations.ever()
        ids = [stock_id(sku, place) for place in places]
        rows = await self._database[STOCK].find({"_id": {"$in": ids}}).to_list()
        if not rows:
            raise NotFound(sku=sku)
        shown = [row for row in rows if not row.get("closed") or row["available"] or row["reserved"]]
        return sorted(shown, key=lambda row: places.index(row["location"]))

    async def movements(
        self, sku: str, *, after: str | None, limit: int, location: str | None = None
    ) -> list[Doc]:
        """The SKU's movements, at one location or at all, oldest first; those after the id `after`.

        Raises NotFound where there is no movement `after`.
        """
        places = [location] if location else await self._locations.ever()
        query: dict[str, Any] = {"stock_id": {"$in": [stock_id(sku, place) for place in places]}}
        if after:
            last = await self._database[MOVEMENTS].find_one({"_id": after})
            if last is None:
                raise NotFound(movement=after)
            later = {"at": last["at"], "_id": {"$gt": after}}
            query["$or"] = [{"at": {"$gt": last["at"]}}, later]
        rows = self._database[MOVEMENTS].find(query).sort([("at", 1), ("_id", 1)]).limit(limit)
        return await rows.to_list()

    async def adjust(
        self, *, sku: str, quantity: int, reason: str, actor: str, key: str, location: str = MAIN
    ) -> Moved:
        """Adds units (or takes them, never more than are available).

        Raises UnknownSku, UnknownLocation, BelowReserved, and IdempotencyKeyReused, as all of these do.
        """
        return await self._movements.make(
            Operation("adjustment", sku, {location: quantity}, reason, actor, key)
        )

    async def receive(
        self, *, sku: str, quantity: int, reason: str, actor: str, key: str, location: str = MAIN
    ) -> Moved:
        """Units have come."""
        return await self._movements.make(Operation("receipt", sku, {location: quantity}, reason, actor, key))

    async def damage(
        self, *, sku: str, quantity: int, reason: str, actor: str, key: str, location: str = MAIN
    ) -> Moved:
        """Units that cannot be sold any more leave; never those that are held."""
        return await self._movements.make(Operation("damage", sku, {location: -quantity}, reason, actor, key))

    async def take_back(
        self,
        *,
        sku: str,
        quantity: int,
        reason: str,
        actor: str,
        key: str,
        location: str = MAIN,
        order_id: str | None = None,
    ) -> Moved:
        """Sold units have come back and can be sold again. `order_id` is noted, not looked up."""
        return await self._movements.make(
            Operation("return", sku, {location: quantity}, reason, actor, key, order_id=order_id)
        )

    async def count(
        self, *, sku: str, counted: int, reason: str, actor: str, key: str, location: str = MAIN
    ) -> Moved:
        """Sets what is there to what was counted, held units included; never below what is held."""
        return await self._movements.make(
            Operation("count", sku, {location: 0}, reason, actor, key, counted=counted)
        )

    async def transfer(
        self, *, sku: str, quantity: int, source: str, target: str, reason: str, actor: str, key: str
    ) -> Moved:
        """Available units go to another location: two movements, together.

        Raises Invalid(reason="same_location") beside what the others raise.
        """
        if source == target:
            raise Invalid(reason="same_location", location=source)
        units = {source: -quantity, target: quantity}
        return await self._movements.make(Operation("transfer", sku, units, reason, actor, key))

    async def threshold(self, sku: str, *, low_at: int | None, location: str | None = None) -> list[Doc]:
        """Sets up to how many available units the SKU's stock is low, at one location or at each that has it.

        None: nobody wants to be told. Answers the levels. Raises NotFound, and TryAgain where others kept
        changing the same stock.
        """
        async with self._locks.hold([lock_key(sku)]):
            for tried in range(TRIES):
                await pause_before(tried)
                rows = await self.levels(sku)
                wanted = [row for row in rows if location in {None, row["location"]}]
                if not wanted:
                    raise NotFound(sku=sku, location=location)
                if await self._set_threshold(wanted, low_at):
                    return await self.levels(sku)
        raise TryAgain(OTHERS_FIRST)

    async def _set_threshold(self, rows: Iterable[Doc], low_at: int | None) -> bool:
        changes, events = Changes(), []
        for row in rows:
            before = stock.level(row)
            low = Level(before.available, low_at=low_at).low_after(0)
            query = {"_id": row["_id"], "available": before.available}
            query["low"] = True if before.low else {"$ne": True}
            update = {"$set": {"low_at": low_at, "low": low}}
            changes.update(STOCK, query, update, expect=1, name="stock to watch")
            if low != before.low:
                events.append(stock.turned(row["_id"], before.available, low_at, low=low))
        async with numbered(events, {}, events=self._events, locks=self._locks) as cursors:
            recorded = self._events.record(changes, events, cursors=cursors, at=self._clock())
            try:
                await changes.commit(self._database)
            except GuardFailed:
                return False
        self._events.publish(recorded)
        return True
