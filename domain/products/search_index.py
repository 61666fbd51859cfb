"""How the index of every process follows the store.

Searches are answered from a `Catalogue` in the process. It follows the store by a few small rows: each write
of a product counts one of them up, in the same transaction, and leaves the product's id there. What is
behind reads the products of the last ids; what is too far behind, or new, reads all products once.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from beanie import Document
from pymongo.errors import BulkWriteError

from domain.batching import Batcher
from domain.changes import Changes, Database, Guarded, is_duplicate
from domain.products.models import PRODUCTS
from domain.products.search_catalogue import Catalogue

SEARCH_CHANGES = "search_changes"
#: Rows over which products are spread, so that writes of different products seldom meet.
ROWS = 16
#: Changed products that a row keeps. A process that is further behind reads all products again.
RECENT = 128
#: Keys of one read by key: SecantusDB's work for more grows with their square.
KEYS = 25
#: Products that are taken in before others have a turn.
TURN = 50
_NAME = "products to search"


class SearchChanges(Document):
    """What changed among one part of the products. Made when services open, never deleted."""

    id: str  # type: ignore[assignment]  # row_id(part)
    #: Changes so far.
    version: int
    #: The ids of the products of the last changes, oldest first.
    recent: list[str]

    class Settings:
        """Where. Found by id alone."""

        name = SEARCH_CHANGES


def row_id(part: int) -> str:
    """The row of this part."""
    return f"search:{part:02}"


def row_of(product_id: str) -> str:
    """The row that tells of this product."""
    return row_id(zlib.crc32(product_id.encode()) % ROWS)


def project(changes: Changes, product_ids: Iterable[str]) -> None:
    """Makes searches see the products as this transaction leaves them: made, edited or deleted.

    Called in every transaction that writes products, with the ids (`_id`) of all of them. A second run of the
    transaction does no harm: products are read once more.
    """
    noted = {each.query["_id"]: index for index, each in enumerate(changes.guards) if each.name == _NAME}
    for product_id in product_ids:
        row = row_of(product_id)
        if row in noted:
            index = noted[row]
            changes.guards[index] = _note(row, [*_ids(changes.guards[index]), product_id])
        else:
            noted[row] = len(changes.guards)
            changes.guards.append(_note(row, [product_id]))


def _note(row: str, ids: list[str]) -> Guarded:
    change = {"$inc": {"version": len(ids)}, "$push": {"recent": {"$each": ids, "$slice": -RECENT}}}
    return Guarded(SEARCH_CHANGES, {"_id": row}, change, 1, _NAME)


def _ids(noted: Guarded) -> list[str]:
    found: list[str] = noted.update["$push"]["recent"]["$each"]
    return found


class SearchIndex:
    """The catalogue of this process, brought up to date for whoever asks."""

    def __init__(self, database: Database) -> None:
        self._products = database[PRODUCTS]
        self._rows = database[SEARCH_CHANGES]
        self._database = database
        self._catalogue = Catalogue()
        #: Versions of the rows that the catalogue has followed; None before it was first read.
        self._versions: dict[str, int] | None = None
        self._following: Batcher[None, Catalogue] = Batcher(self._follow, max_size=1000)

    async def prepare(self) -> None:
        """Idempotent. Makes the rows that writers of products count up."""
        known = {row["_id"] async for row in self._rows.find({}, {"_id": 1})}
        missing = sorted({row_id(part) for part in range(ROWS)} - known)
        if not missing:
            return
        try:
            await self._rows.insert_many(
                [{"_id": row, "version": 0, "recent": []} for row in missing], ordered=False
            )
        except BulkWriteError as error:
            if not is_duplicate(error):
                raise

    async def rebuild(self) -> None:
        """Makes every process read all products again: after they were written without `project`."""
        changes = Changes()
        for part in range(ROWS):
            change = {"$inc": {"version": RECENT + 1}, "$set": {"recent": []}}
            changes.update(SEARCH_CHANGES, {"_id": row_id(part)}, change, expect=1, name=_NAME)
        await changes.commit(self._database)

    async def current(self) -> Catalogue:
        """The catalogue with everything that was committed when this was called.

        To be used up before the next `await`: it goes on following.
        """
        return await self._following.submit(None)

    async def drain(self) -> None:
        """Returns when what is being read has been."""
        await self._following.drain()

    async def _follow(self, askers: list[None]) -> list[Catalogue]:
        versions = {row["_id"]: int(row["version"]) async for row in self._rows.find({}, {"version": 1})}
        known = self._versions
        if known is None or not await self._catch_up(known, versions):
            self._catalogue = await self._load()
            self._versions = versions
        return [self._catalogue] * len(askers)

    async def _catch_up(self, known: Mapping[str, int], versions: Mapping[str, int]) -> bool:
        """Reads the products that changed; False where there are more than the rows tell of."""
        behind = [row for row, version in versions.items() if version != known.get(row, 0)]
        if not behind:
            return True
        changed: set[str] = set()
        followed = dict(known)
        async for row in self._rows.find({"_id": {"$in": behind}}):
            count = row["version"] - known.get(row["_id"], 0)
            if not 0 <= count <= len(row["recent"]):
                return False
            changed.update(row["recent"][len(row["recent"]) - count :])
            followed[row["_id"]] = int(row["version"])
        for part in parts(sorted(changed)):
            await self._take_in(part)
        self._versions = followed
        return True

    async def _take_in(self, product_ids: list[str]) -> None:
        gone = set(product_ids)
        async for product in self._products.find({"_id": {"$in": product_ids}}):
            gone.discard(product["_id"])
            self._catalogue.put(product)
        for product_id in gone:
            self._catalogue.drop(product_id)

    async def _load(self) -> Catalogue:
        """Lets others have a turn after each batch."""
        catalogue = Catalogue()
        async for product in self._products.find({}).batch_size(TURN):
            catalogue.put(product)
        return catalogue


def parts(keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys in parts that one read takes."""
    return (list(keys[start : start + KEYS]) for start in range(0, len(keys), KEYS))
