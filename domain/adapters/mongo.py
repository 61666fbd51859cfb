"""The store: one client per process, durable writes, bounded waits."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TypeVar

import pymongo
import pymongo.lock
from beanie import Document, init_beanie
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from domain.changes import Database, Doc
from domain.errors import ServiceAway
from domain.settings import Mongo

Result = TypeVar("Result")


async def _wait_for(waiting: Awaitable[Result], timeout: float | None) -> Result:  # noqa: ASYNC109 - as asyncio's
    """As `asyncio.wait_for` from Python 3.12 on: without a task of its own."""
    async with asyncio.timeout(timeout):
        return await waiting


# PyMongo waits for conditions by `wait_for`, which before Python 3.12 does so in another task. Where a caller
# is cancelled at the wrong moment of its wait for a store that is away, that task takes the client's lock
# after its caller has gone, nobody gives it back, and every later call of this client hangs for good.
pymongo.lock.wait_for = _wait_for  # type: ignore[attr-defined,assignment]


def connect(settings: Mongo) -> AsyncMongoClient[Doc]:
    """A client whose writes are majority-committed and journalled, and whose times know their zone."""
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
    )


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
        await init_beanie(database=database, document_models=list(models))
    except PyMongoError as error:
        raise ServiceAway(service="MongoDB", reason=_first_line(error)) from error
    return database


async def ping(database: Database) -> None:
    """Raises when the store is away."""
    await database.command("ping")


def _milliseconds(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)


def _first_line(error: PyMongoError) -> str:
    return str(error).split(", Timeout:", maxsplit=1)[0].splitlines()[0]
