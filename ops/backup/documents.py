"""The documents of a database, streamed: out at one moment, and back in."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, OperationFailure

from domain.control.models import PROCESSES
from domain.values import new_id
from ops.backup.layout import STORE, BackupError, Part, Writer

Raw: TypeAlias = RawBSONDocument
Documents: TypeAlias = Database[dict[str, Any]]

#: What says who is alive now, and would be wrong at any other time.
SIGNS = "signs_of_life"
OF_THE_MOMENT = frozenset({PROCESSES, SIGNS})
#: Documents of one read and of one write.
READ, WRITE = 1000, 500
#: The most bytes that one write may take: half of what the protocol lets through.
WRITE_BYTES = 16 << 20
#: Bytes of the length that a document begins with.
HEAD = 4
#: Seconds that the store is looked for.
PATIENCE = 10.0
#: The server's code for a moment that it has forgotten.
SNAPSHOT_TOO_OLD = 239

_RAW: CodecOptions[Raw] = CodecOptions(document_class=RawBSONDocument)


@contextmanager
def opened(url: str, name: str) -> Iterator[Documents]:
    """The named database."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        url,
        w="majority",
        journal=True,
        serverSelectionTimeoutMS=int(PATIENCE * 1000),
        appname="stockyard backup",
    )
    try:
        yield client[name]
    finally:
        client.close()


def occupied(database: Documents) -> list[str]:
    """Collections that have a document."""
    names = sorted(database.list_collection_names())
    return [name for name in names if database[name].find_one({}, {"_id": 1}) is not None]


@contextmanager
def moment(database: Documents) -> Iterator[tuple[ClientSession, str]]:
    """A session in which all reads see one moment, and by what: `snapshot` or `transaction`.

    MongoDB keeps a snapshot for `minSnapshotHistoryWindowInSeconds`. A store that takes the wish for one and
    does not grant it, as the local one, is asked in a transaction instead.
    """
    with database.client.start_session(snapshot=True) as session:
        granted = _grants_snapshots(database, session)
        if granted:
            yield session, "snapshot"
    if not granted:
        with database.client.start_session() as session, session.start_transaction():
            # The moment is that of the first read.
            database[SIGNS].find_one({}, session=session)
            yield session, "transaction"


def _grants_snapshots(database: Documents, session: ClientSession) -> bool:
    """Whether the session's first read is the moment of all others: shown by what is written after it."""
    mark = {"_id": f"backup {new_id()}"}
    try:
        database[SIGNS].find_one({}, session=session)
        database[SIGNS].insert_one(mark)
        return database[SIGNS].find_one(mark, session=session) is None
    except OperationFailure:
        return False
    finally:
        database[SIGNS].delete_one(mark)


def dump(database: Documents, folder: Path) -> tuple[dict[str, Part], str]:
    """Every collection into a file of its own, all as of one moment. What is in them, and how it was read.

    Raises BackupError where the store has forgotten that moment before all was read.
    """
    (folder / STORE).mkdir()
    names = sorted(set(database.list_collection_names()) - OF_THE_MOMENT)
    parts: dict[str, Part] = {}
    try:
        with moment(database) as (session, how):
            for name in names:
                if not name.startswith("system."):
                    parts[name] = _dump_one(database, name, session, folder / STORE / f"{name}.bson.gz")
    except OperationFailure as error:
        if error.code != SNAPSHOT_TOO_OLD:
            raise
        raise BackupError(
            "the store has forgotten the moment of the backup before all was read: raise "
            "minSnapshotHistoryWindowInSeconds, or use mongodump --oplog"
        ) from error
    return parts, how


def _dump_one(database: Documents, name: str, session: ClientSession, path: Path) -> Part:
    writer = Writer(path)
    collection: Collection[Raw] = database.get_collection(name, codec_options=_RAW)  # type: ignore[assignment]
    rows = collection.find({}, session=session, batch_size=READ)
    with writer.open() as out:
        for row in rows:
            out.write(bytes(row.raw))
            writer.count += 1
    if writer.part is None:
        raise BackupError(f"{path} was not written")
    return writer.part


def load(database: Documents, name: str, path: Path) -> int:
    """Inserts every document of the file; answers how many. Raises BackupError."""
    collection: Collection[Raw] = database.get_collection(name, codec_options=_RAW)  # type: ignore[assignment]
    count = 0
    for some in _in_parts(documents_of(path)):
        try:
            collection.insert_many(some, ordered=False)
        except BulkWriteError as error:
            first = error.details["writeErrors"][0].get("errmsg")
            raise BackupError(f"{name} does not take its documents: {first}") from error
        count += len(some)
    return count


def documents_of(path: Path) -> Iterator[Raw]:
    """As they were stored. Raises BackupError where the file ends in the middle of one."""
    with gzip.open(path, "rb") as file:
        while head := file.read(HEAD):
            rest = file.read(int.from_bytes(head, "little") - HEAD)
            try:
                yield RawBSONDocument(head + rest)
            except Exception as error:
                raise BackupError(f"{path} is damaged: {error}") from error


def _in_parts(rows: Iterator[Raw]) -> Iterator[list[Raw]]:
    some: list[Raw] = []
    size = 0
    for row in rows:
        if some and (len(some) == WRITE or size + len(row.raw) > WRITE_BYTES):
            yield some
            some, size = [], 0
        some.append(row)
        size += len(row.raw)
    if some:
        yield some
