"""Stock as the API sees it: levels and adjustments."""

import hashlib
from dataclasses import dataclass
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from domain.changes import Changes, Database, Doc, GuardFailed, is_duplicate
from domain.errors import BelowReserved, IdempotencyKeyReused, NotFound, SkuTaken, UnknownSku
from domain.inventory.models import MOVEMENTS, STOCK
from domain.inventory.rules import DEFAULT_LOCATION, stock_id
from domain.products.models import Product
from domain.products.service import Products
from domain.values import Clock, Money


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A movement that was written, now or by an earlier request with the same key."""

    movement: Doc
    replayed: bool


class Inventory:
    """Stock per SKU and location."""

    def __init__(self, *, database: Database, products: Products, clock: Clock) -> None:
        self._database = database
        self._products = products
        self._clock = clock

    async def introduce(self, *, sku: str, name: str, price: Money, category: str) -> Product:
        """Creates a product with an empty stock at the default location, together. Raises SkuTaken."""
        changes = Changes()
        product = self._products.create(changes, sku=sku, name=name, price=price, category=category)
        stock = {
            "_id": stock_id(sku),
            "sku": sku,
            "location": DEFAULT_LOCATION,
            "available": 0,
            "reserved": 0,
        }
        changes.insert(STOCK, [stock])
        try:
            await changes.commit(self._database)
        except (DuplicateKeyError, BulkWriteError) as error:
            if not is_duplicate(error):
                raise
            if not await self._products.is_stored(product):
                raise SkuTaken(sku=sku) from error
        return product

    async def levels(self, sku: str) -> list[Doc]:
        """The stock of a SKU at each location. Raises NotFound."""
        row = await self._database[STOCK].find_one({"_id": stock_id(sku)})
        if row is None:
            raise NotFound(sku=sku)
        return [row]

    async def movements(self, sku: str, *, after: str | None, limit: int) -> list[Doc]:
        """The SKU's movements at the default location, oldest first, those after `after`."""
        query: dict[str, Any] = {"stock_id": stock_id(sku)}
        last = await self._database[MOVEMENTS].find_one({"_id": after}) if after else None
        if last:
            later = {"at": last["at"], "_id": {"$gt": after}}
            query["$or"] = [{"at": {"$gt": last["at"]}}, later]
        return (
            await self._database[MOVEMENTS].find(query).sort([("at", 1), ("_id", 1)]).limit(limit).to_list()
        )

    async def adjust(self, *, sku: str, quantity: int, reason: str, actor: str, key: str) -> Adjusted:
        """Adds units (or takes them, never more than are available). One (actor, key) is one movement.

        Raises UnknownSku, BelowReserved, and IdempotencyKeyReused.
        """
        movement = self._movement(sku=sku, quantity=quantity, reason=reason, actor=actor, key=key)
        changes = Changes()
        query = {"_id": movement["stock_id"], "available": {"$gte": max(-quantity, 0)}}
        changes.update(STOCK, query, {"$inc": {"available": quantity}}, expect=1, name="stock to adjust")
        changes.insert(MOVEMENTS, [movement])
        try:
            await changes.commit(self._database)
        except GuardFailed:
            return await self._refused(movement)
        except (DuplicateKeyError, BulkWriteError) as error:
            if not is_duplicate(error):
                raise
            return await self._again(movement)
        return Adjusted(movement=movement, replayed=False)

    def _movement(self, *, sku: str, quantity: int, reason: str, actor: str, key: str) -> Doc:
        return {
            "_id": "adjust:" + hashlib.sha256(f"{actor}\0{key}".encode()).hexdigest(),
            "stock_id": stock_id(sku),
            "quantity": quantity,
            "kind": "adjustment",
            "reason": reason,
            "actor": actor,
            "at": self._clock(),
        }

    async def _refused(self, movement: Doc) -> Adjusted:
        if await self._database[MOVEMENTS].find_one({"_id": movement["_id"]}):
            return await self._again(movement)
        sku = movement["stock_id"].partition(":")[2]
        stock = await self._database[STOCK].find_one({"_id": movement["stock_id"]})
        if stock is None:
            raise UnknownSku(sku=sku)
        raise BelowReserved(sku=sku, available=stock["available"], reserved=stock["reserved"])

    async def _again(self, movement: Doc) -> Adjusted:
        first = await self._database[MOVEMENTS].find_one({"_id": movement["_id"]})
        same = first and all(first[name] == movement[name] for name in ("stock_id", "quantity", "reason"))
        if not first or not same:
            raise IdempotencyKeyReused
        return Adjusted(movement=first, replayed=True)
