"""Object storage: the fake and the real one run the same cases; then what only a server can show."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from domain.adapters.s3 import IN_MEMORY, S3ObjectStore
from domain.errors import ServiceAway
from domain.ports import ObjectMissing, ObjectStore
from domain.settings import S3
from domain.values import new_id
from ops.servers.ports import draw
from ops.stack import Stack
from tests.fakes import FakeObjectStore

PLAIN = "text/plain"


def settings_on(stack: Stack, **changed: Any) -> S3:
    urls = stack.up().as_env()
    return S3.model_validate(
        {
            "endpoint_url": urls["STOCKYARD_S3_ENDPOINT_URL"],
            "access_key": urls["STOCKYARD_S3_ACCESS_KEY"],
            "secret_key": urls["STOCKYARD_S3_SECRET_KEY"],
            "bucket": f"test-{new_id()[-12:]}",
            **changed,
        }
    )


@dataclass
class Party:
    """A store, and the same while its server is away."""

    store: ObjectStore
    away: ObjectStore


@pytest.fixture(params=["fake", "s3"])
async def party(request: pytest.FixtureRequest) -> AsyncIterator[Party]:
    if request.param == "fake":
        gone = FakeObjectStore()
        gone.away = True
        yield Party(FakeObjectStore(), gone)
        return
    stack: Stack = request.getfixturevalue("stack")
    nobody = f"http://127.0.0.1:{draw(['nobody'], avoid=())['nobody']}"
    real, away = (
        S3ObjectStore(settings_on(stack)),
        S3ObjectStore(settings_on(stack, endpoint_url=nobody)),
    )
    yield Party(real, away)
    real.close()
    away.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_what_was_put_is_read_again(party: Party) -> None:
    assert await party.store.put("a/b.txt", pieces(b"one ", b"two"), content_type=PLAIN) == 7
    assert await read(party.store, "a/b.txt") == b"one two"
    assert await party.store.size("a/b.txt") == 7


async def test_a_second_put_takes_the_place_of_the_first(party: Party) -> None:
    for body in (b"first", b"2nd"):
        await party.store.put("k", pieces(body), content_type=PLAIN)
    assert await read(party.store, "k") == b"2nd"


async def test_an_empty_object_is_one(party: Party) -> None:
    assert await party.store.put("empty", pieces(), content_type=PLAIN) == 0
    assert await party.store.size("empty") == 0
    assert await read(party.store, "empty") == b""


async def test_what_is_not_there_is_missing(party: Party) -> None:
    assert await party.store.size("nothing") is None
    with pytest.raises(ObjectMissing):
        await read(party.store, "nothing")


async def test_deleting_twice_is_deleting_once(party: Party) -> None:
    await party.store.put("k", pieces(b"x"), content_type=PLAIN)
    await party.store.delete(["k", "never"])
    await party.store.delete(["k"])
    await party.store.delete([])
    assert await party.store.size("k") is None


async def test_keys_are_listed_page_by_page_in_order(party: Party) -> None:
    assert list(await party.store.listing("a/")) == []
    for key in ("a/1", "a/2", "a/3", "b/1"):
        await party.store.put(key, pieces(key.encode()), content_type=PLAIN)
    first = await party.store.listing("a/", limit=2)
    assert [(found.key, found.size) for found in first] == [("a/1", 3), ("a/2", 3)]
    assert [found.key for found in await party.store.listing("a/", after="a/2")] == ["a/3"]
    assert [found.key for found in await party.store.listing("a/", after="a/15", limit=1)] == ["a/2"]
    assert list(await party.store.listing("a/", after="a/3")) == []


async def test_a_body_that_breaks_off_is_not_stored(party: Party) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await party.store.put("half", broken(), content_type=PLAIN)
    assert await party.store.size("half") is None


async def test_a_store_that_is_away_says_so(party: Party) -> None:
    for call in (
        party.away.put("k", pieces(b"x"), content_type=PLAIN),
        party.away.size("k"),
        party.away.listing("k"),
        party.away.delete(["k"]),
        party.away.ping(),
        read(party.away, "k"),
    ):
        with pytest.raises(ServiceAway):
            await call


async def test_a_large_body_goes_through_a_file_and_in_parts(stack: Stack) -> None:
    store = S3ObjectStore(settings_on(stack))
    part = bytes(range(256)) * 4096
    count = 20 * IN_MEMORY // len(part)
    assert await store.put("large", pieces(*[part] * count), content_type=PLAIN) == count * len(part)
    length = 0
    async with store.open("large") as chunks:
        async for chunk in chunks:
            length += len(chunk)
    assert length == count * len(part)
    store.close()


async def test_a_bucket_that_is_not_there_yet_is_no_trouble(stack: Stack) -> None:
    store = S3ObjectStore(settings_on(stack))
    await store.ping()
    assert await store.check()
    await store.put("k", pieces(b"x"), content_type=PLAIN)
    assert await store.check() is None
    assert [found.key for found in await store.listing("")] == ["k"]
    store.close()


async def test_a_refused_key_says_that_the_store_is_away(stack: Stack) -> None:
    store = S3ObjectStore(settings_on(stack, secret_key="wrong"))
    with pytest.raises(ServiceAway, match="service"):
        await store.ping()
    store.close()
