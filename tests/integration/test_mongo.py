"""The store's client: bounded while the store is away, and well once it is back."""

import asyncio
import time
from collections.abc import AsyncIterator

import pymongo.lock
import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from domain.adapters import mongo
from domain.changes import Doc, store_is_away
from domain.errors import ServiceAway
from domain.settings import Mongo
from ops.stack import Stack
from tests.factories import eventually
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def proxy(stack: Stack) -> TcpProxy:
    return TcpProxy(stack.mongo.port("mongo"))


@pytest.fixture
def settings(proxy: TcpProxy) -> Mongo:
    return Mongo(url=f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true", database="test-client")


@pytest.fixture
async def client(settings: Mongo, proxy: TcpProxy) -> AsyncIterator[AsyncMongoClient[Doc]]:
    client = mongo.connect(settings)
    await mongo.ping(client["test-client"])
    yield client
    await client.close()
    proxy.cut()


async def test_a_caller_that_gives_up_while_it_waits_leaves_the_clients_lock_alone():
    lock = pymongo.lock._async_create_lock()
    changed = pymongo.lock._async_create_condition(lock)

    async def look() -> None:
        async with lock:
            await pymongo.lock._async_cond_wait(changed, 0.01)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    async with lock:
        # Its wait is over, and it wants the lock back.
        await eventually(lambda: lock._waiters)
        looking.cancel()
        await asyncio.sleep(0.05)
        # It cannot have ended, for it ends by giving back the lock, which is held here.
        assert not looking.done()
    await asyncio.gather(looking, return_exceptions=True)
    assert looking.cancelled()
    assert not lock.locked()


async def test_an_operation_says_soon_that_the_store_is_away(client: AsyncMongoClient[Doc], proxy: TcpProxy):
    proxy.cut()
    began = time.monotonic()
    with pytest.raises(PyMongoError) as caught:
        await client["test-client"]["things"].insert_one({})
    assert store_is_away(caught.value)
    assert time.monotonic() - began < 5


async def test_a_store_that_cannot_be_reached_at_start_is_named(settings: Mongo, proxy: TcpProxy):
    proxy.cut()
    client = mongo.connect(settings)
    short = settings.model_copy(update={"timeout": settings.away_after / 4})
    with pytest.raises(ServiceAway, match=f"127.0.0.1:{proxy.port}"):
        await mongo.prepare(client, short, [])
    await client.close()
