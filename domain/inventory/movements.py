"""Movements of stock that people make: one operation, one key, one transaction.

Each writes its movements and the stock that they change together, under guards in the update itself: never
below what is held. The ids of its movements come from its key, so that a second run of it finds them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.changes import Changes, Database, Doc, GuardFailed, is_duplicate
from domain.errors import BelowReserved, IdempotencyKeyReused, TryAgain, UnknownSku
from domain.events.models import NewEvent
from domain.events.service import Events
from domain.inventory import stock
from domain.inventory.holds import OTHERS_FIRST, TRIES, pause_before
from domain.inventory.locations import Locations
from domain.inventory.models import LOCATIONS, MOVEMENTS, STOCK
from domain.inventory.news import numbered
from domain.inventory.rules import Level, lock_key, stock_id
from domain.ports import Locks
from domain.values import Clock

#: What two requests with one key have to have in common.
SAME = ("stock_id", "kind", "reason", "counted", "order_id", "other")


@dataclass(frozen=True, slots=True)
class Operation:
    """What somebody does to the stock of one SKU."""

    kind: str
    sku: str
    #: Units that come or go (less than 0), by location; of a count, 0.
    units: Mapping[str, int]
    reason: str
    actor: str
    key: str
    #: Of a count: the units that are there, held ones included.
    counted: int | None = None
    #: Of a return.
    order_id: str | None = None

    def movement_ids(self) -> dict[str, str]:
        """By stock id. One (kind, actor, key) is one operation."""
        digest = hashlib.sha256(f"{self.actor}\0{self.key}".encode()).hexdigest()
        prefix = "adjust" if self.kind == "adjustment" else self.kind
        if len(self.units) == 1:
            return {stock_id(self.sku, place): f"{prefix}:{digest}" for place in self.units}
        ways = {place: "in" if units > 0 else "out" for place, units in self.units.items()}
        return {stock_id(self.sku, place): f"{prefix}:{digest}:{way}" for place, way in ways.items()}


@dataclass(frozen=True, slots=True)
class Moved:
    """Movements that were written, now or by an earlier request with the same key."""

    movements: Sequence[Doc]
    replayed: bool

    @property
    def movement(self) -> Doc:
        """The only one, or the first."""
        return self.movements[0]


class Movements:
    """Writes operations on stock."""

    def __init__(
        self, *, database: Database, events: Events, locks: Locks, locations: Locations, clock: Clock
    ) -> None:
        self._database = database
        self._events = events
        self._locks = locks
        self._locations = locations
        self._clock = clock

    async def make(self, operation: Operation) -> Moved:
        """Once per key.

        Raises UnknownSku, UnknownLocation, BelowReserved, IdempotencyKeyReused, and TryAgain where others
        kept changing the same stock.
        """
        ids = operation.movement_ids()
        async with self._locks.hold([lock_key(operation.sku)]):
            for tried in range(TRIES):
                await pause_before(tried)
                # In this order: levels that have this very operation in them are never looked at without it.
                seen = await self._levels(operation)
                if earlier := await self._earlier(ids):
                    return self._again(operation, earlier)
                if not await self._all_there(operation, seen):
                    continue
                movements = self._movements(operation, seen)
                if await self._write(operation, movements, seen):
                    return Moved(movements, replayed=False)
        raise TryAgain(OTHERS_FIRST)

    async def _levels(self, operation: Operation) -> dict[str, Level]:
        """With that of the default location, which tells whether there is such a SKU."""
        wanted = {stock_id(operation.sku), *(stock_id(operation.sku, place) for place in operation.units)}
        return await stock.levels(self._database, wanted)

    async def _earlier(self, ids: Mapping[str, str]) -> list[Doc]:
        query = {"_id": {"$in": sorted(ids.values())}}
        return await self._database[MOVEMENTS].find(query).sort("quantity").to_list()

    def _again(self, operation: Operation, earlier: Sequence[Doc]) -> Moved:
        seen = {each: Level(0) for each in operation.movement_ids()}
        wanted = self._movements(operation, seen, check=False)
        same = len(wanted) == len(earlier) and all(
            first.get(name) == now.get(name)
            for first, now in zip(earlier, wanted, strict=True)
            for name in (*SAME, *(("quantity",) if operation.counted is None else ()))
        )
        if not same:
            raise IdempotencyKeyReused
        return Moved(earlier, replayed=True)

    async def _all_there(self, operation: Operation, seen: Mapping[str, Level]) -> bool:
        """Whether each location has a stock of the SKU. Opens it where something comes; look again then."""
        if stock_id(operation.sku) not in seen:
            raise UnknownSku(sku=operation.sku)
        opened = False
        for place, units in operation.units.items():
            missing = stock_id(operation.sku, place) not in seen
            # What has come to a deleted location since can be taken from there.
            if missing or units > 0 or operation.counted is not None:
                await self._locations.require(place)
            if missing and units < 0:
                raise BelowReserved(sku=operation.sku, available=0, reserved=0)
            if missing:
                await self._open(operation.sku, place, low_at=seen[stock_id(operation.sku)].low_at)
                opened = True
        return not opened

    async def _open(self, sku: str, place: str, *, low_at: int | None) -> None:
        """An empty stock; its threshold is that of the default location."""
        changes = Changes()
        query = {"_id": place, "deleted_at": None}
        changes.update(LOCATIONS, query, {"$inc": {"stocks": 1}}, expect=1, name="location")
        changes.insert(STOCK, [stock.empty(sku, low_at=low_at, location=place)], guard=True)
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return  # Somebody else did, or the location has gone: the next look tells.

    def _movements(self, operation: Operation, seen: Mapping[str, Level], *, check: bool = True) -> list[Doc]:
        """Raises BelowReserved."""
        ids, found, now = operation.movement_ids(), [], self._clock()
        for place, units in operation.units.items():
            where = stock_id(operation.sku, place)
            level = seen[where]
            if operation.counted is not None:
                units = operation.counted - level.available - level.reserved  # noqa: PLW2901
            if check and level.available + units < 0:
                raise BelowReserved(sku=operation.sku, available=level.available, reserved=level.reserved)
            movement = {
                "_id": ids[where],
                "stock_id": where,
                "quantity": units,
                "kind": operation.kind,
                "reason": operation.reason,
                "actor": operation.actor,
                "at": now,
            }
            others = [other for other in operation.units if other != place]
            more = {"counted": operation.counted, "order_id": operation.order_id}
            more["other"] = others[0] if others else None
            found.append(movement | {name: value for name, value in more.items() if value is not None})
        return sorted(found, key=lambda movement: movement["quantity"])

    async def _write(self, operation: Operation, movements: Sequence[Doc], seen: Mapping[str, Level]) -> bool:
        """One transaction; False where somebody else was first, be it with the same key."""
        changes = Changes()
        if operation.counted is not None:
            self._count(changes, movements[0], seen)
        events: list[NewEvent] = stock.move(changes, movements, seen)
        async with numbered(events, {}, events=self._events, locks=self._locks) as cursors:
            recorded = self._events.record(changes, events, cursors=cursors, at=self._clock())
            try:
                await changes.commit(self._database)
            except GuardFailed:
                return False
            except (DuplicateKeyError, BulkWriteError) as error:
                if not is_duplicate(error):
                    raise
                return False
        self._events.publish(recorded)
        return True

    @staticmethod
    def _count(changes: Changes, movement: Doc, seen: Mapping[str, Level]) -> None:
        """What was counted is compared with what there was: nothing may have come or gone since."""
        level = seen[movement["stock_id"]]
        query = {"_id": movement["stock_id"], "closed": None}
        query |= {"available": level.available, "reserved": level.reserved}
        changes.update(
            STOCK, query, {"$set": {"counted_at": movement["at"]}}, expect=1, name="stock to count"
        )
