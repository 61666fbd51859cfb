"""Exports: products become a stored file, in the form that an import reads."""

from collections.abc import AsyncIterator

from domain.changes import Database, Doc
from domain.errors import ServiceAway, TryAgain
from domain.jobs.models import Claimed
from domain.ports import ObjectStore
from domain.products.commands import ExportProducts
from domain.products.models import PRODUCTS
from domain.products.rows import header, written
from domain.products.transfer_models import FINISHED, PAUSE, TRANSFERS
from domain.values import Clock

#: Products of one read.
PAGE = 200


class Exports:
    """Writes products out."""

    def __init__(self, *, database: Database, objects: ObjectStore, clock: Clock) -> None:
        self._database = database
        self._objects = objects
        self._clock = clock

    async def run(self, command: ExportProducts, job: Claimed) -> Doc:
        """The number of rows, and the bytes of the file. Run again, it writes the file anew.

        Raises TryAgain while the object store is away.
        """
        began, count = self._clock(), 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal count
            yield header(command.form)
            async for products in self._pages(command):
                count += sum(len(product["variants"]) for product in products)
                yield written(products, command.form)

        file = f"exports/{job.id}"
        try:
            size = await self._objects.put(file, body(), content_type="application/octet-stream")
        except ServiceAway as error:
            raise TryAgain("the object store is away", seconds=PAUSE) from error
        fields = {
            "kind": "export", "owner": job.owner, "file": file, "form": command.form, "state": FINISHED,
            "rows": count, "started_at": began, "finished_at": self._clock(),
        }  # fmt: skip
        await self._database[TRANSFERS].update_one({"_id": job.id}, {"$set": fields}, upsert=True)
        return {"rows": count, "bytes": size}

    async def _pages(self, command: ExportProducts) -> AsyncIterator[list[Doc]]:
        wanted = {"status": command.status, "category": command.category, "type": command.type}
        query: Doc = {name: value for name, value in wanted.items() if value is not None}
        query["deleted_at"] = None
        ids: list[str] = []
        # One pass over the ids, then reads by key: a page after an id costs the local store a scan.
        async for row in self._database[PRODUCTS].find(query, {"_id": 1}).sort("_id"):
            ids.append(row["_id"])
            if len(ids) == PAGE:
                yield await self._page(query, ids)
                ids = []
        if ids:
            yield await self._page(query, ids)

    async def _page(self, query: Doc, ids: list[str]) -> list[Doc]:
        """Without those that have changed and are not wanted any more."""
        return await self._database[PRODUCTS].find({"_id": {"$in": ids}, **query}).sort("_id").to_list()
