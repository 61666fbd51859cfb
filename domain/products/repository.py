"""Queries of products that are worth a name."""

import asyncio
from collections.abc import Iterable
from typing import cast

from domain.changes import Database, Doc
from domain.products.models import PRICE_CHANGES, PRODUCTS, SKUS
from domain.products.rules import SkuFacts

#: The longest that an id, a slug or a SKU is.
LONGEST_REF = 100


class ProductRepository:
    """Reads; every one goes to the store."""

    def __init__(self, database: Database) -> None:
        self._products = database[PRODUCTS]
        self._skus = database[SKUS]
        self._prices = database[PRICE_CHANGES]

    async def find(self, ref: str) -> Doc | None:
        """The product with this id; else with this slug; else with this SKU. Deleted ones, too."""
        if not 0 < len(ref) <= LONGEST_REF:
            return None
        named, by_sku = await asyncio.gather(
            self._products.find({"$or": [{"_id": ref}, {"slug": ref}]}).to_list(),
            self._skus.find_one({"_id": ref}, {"product_id": 1}),
        )
        if named:
            return next((product for product in named if product["_id"] == ref), named[0])
        return await self._products.find_one({"_id": by_sku["product_id"]}) if by_sku else None

    async def is_stored(self, product: Doc) -> bool:
        """Whether the stored product is this very write of it."""
        query = {"_id": product["_id"], "revision": product["revision"]}
        return await self._products.find_one(query, {"_id": 1}) is not None

    async def slug_taken(self, slug: str, *, but_by: str = "") -> bool:
        """Whether another product has the slug, be it deleted."""
        found = await self._products.find_one({"slug": slug}, {"_id": 1})
        return found is not None and found["_id"] != but_by

    async def taken_sku(self, skus: Iterable[str], *, but_by: str = "") -> str | None:
        """The first of these SKUs that another product has, be it deleted."""
        rows = await self._skus.find({"_id": {"$in": sorted(skus)}}, {"product_id": 1}).to_list()
        return min((row["_id"] for row in rows if row["product_id"] != but_by), default=None)

    async def is_empty(self) -> bool:
        """Whether there never was a product."""
        return await self._products.find_one({}, {"_id": 1}) is None

    async def facts(self, skus: Iterable[str]) -> dict[str, SkuFacts]:
        """One read by key. SKUs that were never for sale are left out, as if there were none."""
        wanted = sorted(set(skus))
        if not wanted:
            return {}
        rows = await self._skus.find({"_id": {"$in": wanted}}).to_list()
        facts: dict[str, SkuFacts] = {}
        for row in rows:
            if row.pop("public"):
                sku = row.pop("_id")
                facts[sku] = cast(SkuFacts, {"sku": sku, **row})
        return facts

    async def prices(self, sku: str, *, before: str | None, limit: int) -> list[Doc]:
        """The changes of a SKU's price, newest first, those before `before`."""
        query: Doc = {"sku": sku} | ({"_id": {"$lt": before}} if before else {})
        return await self._prices.find(query).sort("_id", -1).limit(limit).to_list()
