"""Imports and exports as people see them: how far they are, what was refused, and the files."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from domain.changes import Database, Doc
from domain.errors import NotFound, NotReady
from domain.jobs.rules import FINAL, SUCCEEDED
from domain.jobs.service import Jobs
from domain.ports import ObjectStore
from domain.products.commands import ExportProducts, ImportProducts
from domain.products.transfer_models import OUTCOMES, REFUSED_ROWS, TRANSFERS, refused_id
from domain.settings import Catalog
from domain.values import Clock

#: Refused rows of one read, and transfers of one sweep.
PAGE = 500
SWEEP = 50


class Transfers:
    """`owner` None sees everybody's."""

    def __init__(
        self, *, database: Database, objects: ObjectStore, jobs: Jobs, settings: Catalog, clock: Clock
    ) -> None:
        self._database = database
        self._objects = objects
        self._jobs = jobs
        self._settings = settings
        self._clock = clock

    async def get_import(self, import_id: str, *, owner: str | None) -> Doc:
        """The state of the job, and its counts so far. Raises NotFound."""
        job, transfer = await self._find(import_id, ImportProducts.kind, owner)
        counts = {name: transfer.get(name, 0) for name in ("rows", *OUTCOMES)}
        error = job.get("error") if job["state"] != SUCCEEDED else None
        shown = {name: error[name] for name in ("code", "message", "detail")} if error else None
        return {"id": import_id, "state": job["state"], **counts, "error": shown}

    async def get_export(self, export_id: str, *, owner: str | None) -> Doc:
        """The state of the job, and the rows of its file once there is one. Raises NotFound."""
        job, transfer = await self._find(export_id, ExportProducts.kind, owner)
        return {"id": export_id, "state": job["state"], "rows": transfer.get("rows", 0)}

    async def report(self, import_id: str, *, owner: str | None) -> AsyncIterator[Doc]:
        """The rows that were refused so far, in the file's order. Raises NotFound, at once."""
        await self._find(import_id, ImportProducts.kind, owner)
        return self._refused(import_id)

    async def _refused(self, import_id: str) -> AsyncIterator[Doc]:
        bounds = {"$gte": refused_id(import_id, 0), "$lt": f"{import_id};"}
        while (
            rows := await self._database[REFUSED_ROWS].find({"_id": bounds}).sort("_id").limit(PAGE).to_list()
        ):
            for row in rows:
                yield {name: row[name] for name in ("line", "sku", "code", "field", "message")}
            bounds = {"$gt": rows[-1]["_id"], "$lt": f"{import_id};"}

    async def file(
        self, export_id: str, *, owner: str | None
    ) -> tuple[str, AbstractAsyncContextManager[AsyncIterator[bytes]]]:
        """The form of an export's file, and the file. Raises NotFound, and NotReady until it is written."""
        job, transfer = await self._find(export_id, ExportProducts.kind, owner)
        if job["state"] != SUCCEEDED or not transfer:
            raise NotReady(state=job["state"])
        if await self._objects.size(transfer["file"]) is None:
            raise NotFound(export=export_id)
        return transfer["form"], self._objects.open(transfer["file"])

    async def _find(self, job_id: str, kind: str, owner: str | None) -> tuple[Doc, Doc]:
        job = await self._jobs.get(job_id, owner=owner)
        if job["kind"] != kind:
            raise NotFound(job=job_id)
        return job, await self._database[TRANSFERS].find_one({"_id": job_id}) or {}

    async def sweep(self) -> int:
        """Deletes files and reports whose time is over; answers of how many imports and exports.

        An import that has no end counts from its start, once its job is over: it was cancelled, or is dead.
        """
        before = self._clock() - self._settings.keep_files
        over = {"finished_at": {"$lt": before, "$ne": None}}
        rows = await self._database[TRANSFERS].find(over).sort("finished_at").limit(SWEEP).to_list()
        endless = {"finished_at": None, "started_at": {"$lt": before}}
        left = await self._database[TRANSFERS].find(endless).limit(SWEEP).to_list()
        rows += [row for row in left if await self._is_over(row["_id"])]
        await self._objects.delete([row["file"] for row in rows])
        for row in rows:
            if row["kind"] == "import":
                bounds = {"$gte": refused_id(row["_id"], 0), "$lt": f"{row['_id']};"}
                await self._database[REFUSED_ROWS].delete_many({"_id": bounds})
            await self._database[TRANSFERS].delete_one({"_id": row["_id"]})
        return len(rows)

    async def _is_over(self, job_id: str) -> bool:
        try:
            job = await self._jobs.get(job_id, owner=None)
        except NotFound:
            return True
        return job["state"] in FINAL
