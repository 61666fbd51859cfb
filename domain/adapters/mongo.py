"""The store: one client per process, durable writes, bounded waits."""

import asyncio
import re
import time
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TypeVar

import pymongo
import pymongo.lock
from beanie import Document, init_beanie
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from domain import telemetry
from domain.adapters.mongo_pool import PoolWatch
from domain.changes import Database, Doc
from domain.errors import ServiceAway
from domain.settings import Mongo

Result = TypeVar("Result")

#: Seconds between two writes that only look whether the store takes them.
WRITES_EVERY = 3.0
#: Seconds that such a write may take.
PATIENCE = 1.5
#: Seconds that the end of the sessions may take at the end of a process.
FAREWELL = 0.5
#: Where signs of life are written: one document.
SIGNS = "signs_of_life"


async def _wait_for(waiting: Awaitable[Result], timeout: float | None) -> Result:  # noqa: ASYNC109 - as asyncio's
    """As `asyncio.wait_for` from Python 3.12 on: without a task of its own."""
    async with asyncio.timeout(timeout):
        return await waiting


# PyMongo waits for conditions by `wait_for`, which before Python 3.12 does so in another task. Where a caller
# is cancelled at the wrong moment of its wait for a store that is away, that task takes the client's lock
# after its caller has gone, nobody gives it back, and every later call of this client hangs for good.
pymongo.lock.wait_for = _wait_for  # type: ignore[attr-defined,assignment]


def connect(settings: Mongo, watch: PoolWatch | None = None) -> AsyncMongoClient[Doc]:
    """A client whose writes are majority-committed and journalled, and whose times know their zone.

    `watch` counts its connections.
    """
    milliseconds = _milliseconds(settings.timeout)
    return AsyncMongoClient(
        settings.url,
        w="majority",
        journal=True,
        tz_aware=True,
        retryWrites=True,
        maxPoolSize=settings.max_pool_size,
        serverSelectionTimeoutMS=_milliseconds(settings.away_after),
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
        appname="stockyard",
        event_listeners=[*([watch] if watch else []), *telemetry.mongo_listeners()],
    )


async def close(client: AsyncMongoClient[Doc]) -> None:
    """Closes the client, without a long look for a store to say goodbye to."""
    with pymongo.timeout(FAREWELL):
        await client.close()


async def prepare(
    client: AsyncMongoClient[Doc], settings: Mongo, models: Sequence[type[Document]]
) -> Database:
    """The database with every model's collection and indexes in place. Raises ServiceAway.

    Waits longer for the store than an operation does: it may be starting, too.
    """
    database = client[settings.database]
    try:
        with pymongo.timeout(settings.timeout.total_seconds()):
            await ping(database)
        # Beanie asks each collection for its indexes first, which doubles the time that this takes.
        await init_beanie(database=database, document_models=list(models), skip_indexes=True)
        # One after another: side by side they are no sooner done, and open a connection each.
        for model in models:
            await _create_indexes(database, model)
    except PyMongoError as error:
        raise ServiceAway(service="MongoDB", reason=_first_line(error)) from error
    return database


async def _create_indexes(database: Database, model: type[Document]) -> None:
    """Idempotent."""
    indexes = [each.index for each in model.get_settings().indexes]
    if indexes:
        await database[model.get_collection_name()].create_indexes(indexes)


async def ping(database: Database) -> None:
    """Raises when the store is away."""
    await database.command("ping")


class SignOfLife:
    """Looks whether the store answers, and, seldom, whether it takes a write.

    A store without a majority, or one that is full, still reads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looking = asyncio.Lock()
        self._written_at = -WRITES_EVERY

    async def __call__(self) -> None:
        """Raises ServiceAway where the store is away or takes no writes. Writes once in `WRITES_EVERY`."""
        try:
            await self._look()
        except PyMongoError as error:
            raise ServiceAway(service="MongoDB", reason=_first_line(error)) from error

    async def _look(self) -> None:
        await ping(self._database)
        async with self._looking:
            if time.monotonic() - self._written_at < WRITES_EVERY:
                return
            with pymongo.timeout(PATIENCE):
                await self._database[SIGNS].update_one(
                    {"_id": "readyz"}, {"$currentDate": {"at": True}}, upsert=True
                )
            self._written_at = time.monotonic()


def _milliseconds(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)


def _first_line(error: PyMongoError) -> str:
    """Why, without the settings and the topology that PyMongo tells after it."""
    return re.split(", Timeout:| \\(configured timeouts", str(error))[0].splitlines()[0]
