"""Imports: a stored file becomes products, chunk by chunk. Run again, it goes on where it was."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from pymongo.errors import PyMongoError

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import (
    DomainError,
    IdempotencyKeyReused,
    Invalid,
    ServiceAway,
    TooManyErrors,
    TryAgain,
    UnreadableFile,
)
from domain.events.service import Events
from domain.jobs.models import Accepted, Claimed
from domain.jobs.service import Jobs
from domain.ports import ObjectMissing, ObjectStore
from domain.products.commands import FileForm, ImportProducts
from domain.products.import_log import GUARD, ImportLog, counts_of
from domain.products.models import PRODUCTS, SKUS
from domain.products.row_reader import read
from domain.products.rows import Line, Refused, Row
from domain.products.service import Products
from domain.products.transfer_models import FAILED, FINISHED, PAUSE, RUNNING
from domain.products.upserts import Upserts, plain_slugs
from domain.settings import Catalog
from domain.values import Clock

#: Rows of one transaction.
CHUNK = 100
#: How often a chunk is tried again where others wrote the same products; then its rows go one by one.
TRIES = 3
#: Bytes of a file that are kept in memory.
IN_MEMORY = 1_048_576
#: Seconds that one run may take before the job lets others have a turn.
SLICE = 120.0


class Imports:
    """Takes files in, and makes products of them."""

    def __init__(
        self,
        *,
        database: Database,
        products: Products,
        objects: ObjectStore,
        jobs: Jobs,
        events: Events,
        settings: Catalog,
        clock: Clock,
    ) -> None:
        self._database = database
        self._products = products
        self._objects = objects
        self._jobs = jobs
        self._log = ImportLog(database=database, events=events, clock=clock)
        self._settings = settings
        self._clock = clock

    async def accept(
        self, body: AsyncIterator[bytes], *, form: FileForm, owner: str, key: str, request_id: str | None
    ) -> Accepted:
        """Stores the file, then the job. The same key with the same file is the same import.

        Raises Invalid for an empty file, IdempotencyKeyReused, and ServiceAway.
        """
        digest, size = hashlib.sha256(), 0
        with SpooledTemporaryFile(IN_MEMORY) as file:
            async for part in body:
                digest.update(part)
                size += len(part)
                file.write(part)
            if not size:
                raise Invalid(reason="empty_file")
            # The same for a repetition, and another file than that of any other request.
            name = hashlib.sha256(f"{owner}\n{key}\n{form}\n{digest.hexdigest()}".encode()).hexdigest()
            command = ImportProducts(file=f"imports/{name}", form=form, size=size, sha256=digest.hexdigest())
            file.seek(0)
            await self._objects.put(command.file, _parts(file), content_type="application/octet-stream")
        try:
            job = await self._jobs.submit(command, owner=owner, key=key, request_id=request_id)
        except IdempotencyKeyReused:
            with suppress(ServiceAway):
                await self._objects.delete([command.file])
            raise
        # What was accepted stays so: the worker notes it, too.
        with suppress(PyMongoError):
            await self._log.note(job.job_id, command, owner=owner)
        return job

    async def run(self, command: ImportProducts, job: Claimed) -> Doc:
        """The counts of the whole import.

        Raises TryAgain to go on in another run: after a while, and while the object store is away. Raises
        UnreadableFile and TooManyErrors; what was taken until then stays. Run again after that, it
        goes on from there.
        """
        done = await self._log.begin(command, job)
        if done["state"] != RUNNING:
            return counts_of(done)
        try:
            done = await self._take_all(command, job, done)
        except ServiceAway as error:
            raise TryAgain("the object store is away", seconds=PAUSE) from error
        except DomainError as error:
            await self._log.end(job, FAILED, {"code": error.code, "message": error.message, **error.detail})
            raise
        return counts_of(await self._log.end(job, FINISHED, None))

    async def _take_all(self, command: ImportProducts, job: Claimed, done: Doc) -> Doc:
        until = time.monotonic() + SLICE
        async with self._local(command.file) as file:
            with closing(read(file, command.form)) as lines:
                await asyncio.to_thread(_skip, lines, done["rows"])
                self._require_few(done)
                while chunk := await asyncio.to_thread(_next, lines):
                    done = await self._apply(chunk, job, done)
                    self._require_few(done)
                    if time.monotonic() > until:
                        raise TryAgain("the import goes on in another run", seconds=0)
        return done

    def _require_few(self, done: Doc) -> None:
        if done["refused"] > self._settings.max_refused:
            raise TooManyErrors(refused=done["refused"], most=self._settings.max_refused)

    @asynccontextmanager
    async def _local(self, key: str) -> AsyncIterator[IO[bytes]]:
        """The stored file, within reach of a parser that cannot wait."""
        with SpooledTemporaryFile(IN_MEMORY) as file:
            try:
                async with self._objects.open(key) as parts:
                    async for part in parts:
                        await asyncio.to_thread(file.write, part)
            except ObjectMissing as error:
                raise UnreadableFile(reason="the file is not kept any more") from error
            file.seek(0)
            yield cast(IO[bytes], file)

    async def _apply(self, lines: Sequence[Line], job: Claimed, done: Doc) -> Doc:
        """One transaction for all, counted in it; single rows where others keep writing the same products.

        Raises TryAgain where another run goes on with the import.
        """
        for _ in range(TRIES):
            with suppress(GuardFailed):
                return await self._write(await self._upserts(lines), job, done)
        if len(lines) == 1:
            return await self._write(_conflict(lines[0], self._clock), job, done)
        for line in lines:
            done = await self._apply([line], job, done)
        return done

    async def _write(self, upserts: Upserts, job: Claimed, done: Doc) -> Doc:
        changes, writes = Changes(), [(each.before, each.after) for each in upserts.writes()]
        after = self._log.count(changes, job.id, done, upserts)
        try:
            await self._products.write(writes, actor=job.owner, beside=changes)
        except GuardFailed as error:
            if GUARD not in error.guards:
                raise
            await self._log.require(job.id, after)
        return after

    async def _upserts(self, lines: Sequence[Line]) -> Upserts:
        """What the rows come to, given what is stored now."""
        rows = [line.row for line in lines if isinstance(line.row, Row)]
        skus = sorted({row.sku for row in rows})
        wanted = sorted(plain_slugs(rows) | {row.product for row in rows if row.product})
        owners = {
            row["_id"]: row["product_id"]
            async for row in self._database[SKUS].find({"_id": {"$in": skus}}, {"product_id": 1})
        }
        by_id = self._database[PRODUCTS].find({"_id": {"$in": sorted(set(owners.values()))}})
        by_slug = self._database[PRODUCTS].find({"slug": {"$in": wanted}})
        products = {row["_id"]: row async for row in by_id}
        products |= {row["_id"]: row async for row in by_slug if row["_id"] not in products}
        upserts = Upserts(now=self._clock(), owners=owners, products=products)
        for line in lines:
            upserts.take(line)
        return upserts


def _conflict(line: Line, clock: Clock) -> Upserts:
    sku = line.row.sku
    refused = Refused(line=line.number, sku=sku, code="conflict", message="Others keep writing this product.")
    return Upserts(now=clock(), owners={}, products={}, refused=[refused])


def _skip(lines: Iterator[Line], number: int) -> None:
    next(islice(lines, number, number), None)


def _next(lines: Iterator[Line]) -> list[Line]:
    return list(islice(lines, CHUNK))


async def _parts(file: Any) -> AsyncIterator[bytes]:
    while part := file.read(IN_MEMORY):
        yield part
