"""What one transaction writes: guarded updates first, then inserts.

Guarded updates go to the store in one command and say how many documents each must match. If one matches
fewer, somebody else was first: nothing is written and `GuardFailed` tells the caller to look again. A
transaction whose commit was applied but whose answer was lost runs again, fails its own guard, and so
changes nothing twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import pymongo
from pymongo import InsertOne, UpdateMany, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ClientBulkWriteException,
    ConnectionFailure,
    DuplicateKeyError,
    PyMongoError,
)
from pymongo.results import ClientBulkWriteResult

Doc: TypeAlias = dict[str, Any]
Database: TypeAlias = AsyncDatabase[Doc]

#: Error codes of a store that is stopping, starting, or changing its primary.
STOPPING = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
DUPLICATE_KEY = 11000
#: Labels of PyMongo on errors that a repetition may cure.
TRANSIENT = ("TransientTransactionError", "RetryableWriteError", "UnknownTransactionCommitResult")


def store_is_away(error: BaseException) -> bool:
    """Whether the store could not be reached, was stopping, or did not answer in time: nobody's mistake."""
    if isinstance(error, ConnectionFailure):
        return True
    if not isinstance(error, PyMongoError):
        return False
    code = getattr(error, "code", None)
    return error.timeout or code in STOPPING or any(error.has_error_label(label) for label in TRANSIENT)


def is_duplicate(error: PyMongoError) -> bool:
    """Whether a document was refused because its key is taken."""
    if isinstance(error, DuplicateKeyError):
        return True
    details = getattr(error, "details", None) or {}
    return any(each.get("code") == DUPLICATE_KEY for each in details.get("writeErrors", ()))


class GuardFailed(Exception):
    """A guarded update matched fewer documents than it had to. Nothing was written."""

    def __init__(self, guards: Sequence[str]) -> None:
        self.guards = tuple(guards)
        super().__init__(", ".join(guards))


@dataclass(frozen=True, slots=True)
class Guarded:
    """One update with the number of documents it has to match; None where any number is right."""

    collection: str
    query: Mapping[str, Any]
    update: Mapping[str, Any]
    expect: int | None
    name: str


@dataclass(slots=True)
class Changes:
    """Collects the writes of one transaction; `commit` applies all of them, or none."""

    guards: list[Guarded] = field(default_factory=list)
    inserts: dict[str, list[Doc]] = field(default_factory=dict)
    #: Single documents that ride along with the guards in their command.
    riders: list[tuple[str, Doc]] = field(default_factory=list)
    #: Collections in which a duplicate key is a failed guard.
    unique: set[str] = field(default_factory=set)

    def update(
        self,
        collection: str,
        query: Mapping[str, Any],
        update: Mapping[str, Any],
        *,
        expect: int | None,
        name: str,
    ) -> None:
        """Adds an update of all documents that match `query`, which have to be `expect` in number."""
        self.guards.append(Guarded(collection, query, update, expect, name))

    @classmethod
    def of(cls, collection: str, query: Mapping[str, Any], update: Mapping[str, Any]) -> Self:
        """One update of all documents that match, however many, as a transaction.

        Many documents of a collection that other transactions write are updated like this, never by a plain
        `update_many`: SecantusDB keeps the collection locked while that waits for a document which an open
        transaction has written, the transaction's next statement waits for the lock, and both stand still.
        """
        changes = cls()
        changes.update(collection, query, update, expect=None, name=collection)
        return changes

    def insert(self, collection: str, documents: Sequence[Doc], *, guard: bool = False) -> None:
        """Adds documents to insert. With `guard` a duplicate key among them says that another was first."""
        if documents:
            self.inserts.setdefault(collection, []).extend(documents)
        if guard:
            self.unique.add(collection)

    def ride(self, collection: str, document: Doc) -> None:
        """Adds one document that is inserted in the guards' command."""
        self.riders.append((collection, document))

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.guards or self.inserts or self.riders)

    async def commit(self, database: Database, *, seconds: float = 10.0) -> None:
        """Writes all in one transaction, majority-committed and journalled.

        Runs again by itself on a conflict with another transaction and when the commit's answer was lost.
        Raises GuardFailed, DuplicateKeyError (both: nothing was written), and PyMongoError when the store
        is away for `seconds`.
        """
        if not self:
            return
        with pymongo.timeout(seconds):
            # Not causally consistent: nothing is read in it, and SecantusDB refuses the `readConcern` that a
            # client-level bulk write would carry when a transaction runs again.
            async with database.client.start_session(causal_consistency=False) as session:
                await session.with_transaction(lambda live: self._write(database, live))

    async def _write(self, database: Database, session: AsyncClientSession) -> None:
        await self._guarded(database, session)
        for collection, documents in self.inserts.items():
            try:
                await database[collection].insert_many(documents, session=session)
            except BulkWriteError as error:
                if collection in self.unique and is_duplicate(error):
                    raise GuardFailed([collection]) from error
                raise

    async def _guarded(self, database: Database, session: AsyncClientSession) -> None:
        prefix = database.name
        operations: list[Any] = []
        for guard in self.guards:
            kind = UpdateOne if isinstance(guard.query.get("_id"), str) else UpdateMany
            operations.append(kind(guard.query, guard.update, namespace=f"{prefix}.{guard.collection}"))
        operations += [InsertOne(doc, namespace=f"{prefix}.{collection}") for collection, doc in self.riders]
        if not operations:
            return
        try:
            matched = await update_all(database, operations, session=session)
        except ClientBulkWriteException as error:
            # A rider is there already, as when all this was applied before: the guards come first and tell.
            self._check(_matched(error.partial_result) if error.partial_result else {})
            raise
        self._check(matched)

    def _check(self, matched: Mapping[int, int]) -> None:
        failed = [
            guard.name
            for index, guard in enumerate(self.guards)
            if guard.expect is not None and matched.get(index, guard.expect) != guard.expect
        ]
        if failed:
            raise GuardFailed(failed)


async def update_all(
    database: Database, operations: Sequence[Any], *, session: AsyncClientSession | None = None
) -> dict[int, int]:
    """Runs the operations in one command, in order; answers how many documents each update matched, by index.

    Raises PyMongoError as a single operation would, and ClientBulkWriteException where one is refused.
    """
    try:
        result = await database.client.bulk_write(operations, session=session, verbose_results=True)
    except ClientBulkWriteException as error:
        # What went wrong is inside, with the labels that tell `with_transaction` to run again.
        raise (error.error or error) from error
    return _matched(result)


async def update_together(
    database: Database, operations: Sequence[Any], *, seconds: float = 10.0
) -> dict[int, int]:
    """As `update_all`, in one transaction: outside of one, every single update is a durable write of its own.

    Run again after a commit whose answer was lost, an update matches what the first run left.
    """
    with pymongo.timeout(seconds):
        async with database.client.start_session(causal_consistency=False) as session:
            return await session.with_transaction(lambda live: update_all(database, operations, session=live))


def _matched(result: ClientBulkWriteResult) -> dict[int, int]:
    return {index: each.matched_count for index, each in result.update_results.items()}
