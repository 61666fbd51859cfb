"""Queries of discounts that are worth a name."""

from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from domain.changes import Database, Doc
from domain.discounts.models import CUSTOMERS, DISCOUNTS, customer_id


class DiscountRepository:
    """Stored discounts, and what their customers used."""

    def __init__(self, database: Database) -> None:
        self._discounts = database[DISCOUNTS]
        self._customers = database[CUSTOMERS]

    async def add(self, row: Doc) -> bool:
        """False where its lookup or its request is known."""
        try:
            await self._discounts.insert_one(row)
        except DuplicateKeyError:
            return False
        return True

    async def by_id(self, discount_id: str) -> Doc | None:
        """One discount."""
        return await self._discounts.find_one({"_id": discount_id})

    async def by_request(self, request: str) -> Doc | None:
        """The discount that the request made."""
        return await self._discounts.find_one({"request": request})

    async def page(
        self, *, before: str | None, limit: int, code: str | None, active: bool | None
    ) -> list[Doc]:
        """Newest first, those before `before`."""
        query: Doc = {"_id": {"$lt": before}} if before else {}
        if code is not None:
            query["lookup"] = code.upper()
        if active is not None:
            query["active"] = active
        return await self._discounts.find(query).sort("_id", -1).limit(limit).to_list()

    async def edit(self, row: Doc, fields: dict[str, Any], *, revision: str, at: datetime) -> bool:
        """Writes the fields under a new revision; False where the row was edited since it was read."""
        query: Doc = {"_id": row["_id"], "revision": row["revision"]}
        currency = fields.get("currency")
        if currency is not None and currency not in row["amounts"]:
            # Its budget begins at nothing, unless an order in this currency comes first.
            query[f"amounts.{currency}"] = {"$exists": False}
            fields = fields | {f"amounts.{currency}": {"taken": 0, "committed": 0, "released": 0}}
        update = {"$set": fields | {"revision": revision, "updated_at": at}}
        if (await self._discounts.update_one(query, update)).matched_count:
            return True
        # A write whose answer was lost, and which the driver repeated, finds its own revision.
        mine = {"_id": row["_id"], "revision": revision}
        return await self._discounts.find_one(mine, {"_id": 1}) is not None

    async def customers(self, lookup: str, *, after: str | None, limit: int) -> list[Doc]:
        """What its customers used, by account, those after `after`."""
        first, last = customer_id(lookup, after or ""), f"{lookup};"
        query = {"_id": {"$gt": first, "$lt": last}}
        return await self._customers.find(query).sort("_id").limit(limit).to_list()
