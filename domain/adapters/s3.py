"""S3: objects in one bucket, streamed both ways. boto3 blocks, so its calls run on threads of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import cached_property, partial
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from domain.ports import ObjectMissing, StoredObject
from domain.settings import S3

if TYPE_CHECKING:
    from domain.adapters.s3_bucket import Bucket

P = ParamSpec("P")
Result = TypeVar("Result")

#: Bytes that are read in one go.
CHUNK = 262_144
#: Bytes that are kept in memory before a body goes to a temporary file.
IN_MEMORY = 1_048_576
THREADS = 8


class S3ObjectStore:
    """`ports.ObjectStore` in the settings' bucket, made with the first object where there is none."""

    def __init__(self, settings: S3) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    @cached_property
    def bucket(self) -> "Bucket":
        """For the store's threads only: to open it takes a while."""
        # boto3 takes 40 MB and 0.3 s, which most processes never need.
        from domain.adapters.s3_bucket import Bucket  # noqa: PLC0415

        return Bucket(self._settings, connections=THREADS)

    def close(self, *, wait: bool = True) -> None:
        """Idempotent. What is on its way ends first, and is waited for unless `wait` is False."""
        self._threads.shutdown(wait=wait)

    async def put(
        self, key: str, body: AsyncIterator[bytes], *, content_type: str, cache_control: str | None = None
    ) -> int:
        """As the port says."""
        size = 0
        with SpooledTemporaryFile(IN_MEMORY) as file:
            async for chunk in body:
                size += len(chunk)
                await self.do(file.write, chunk)
            await self.do(
                lambda: self.bucket.put(key, file, content_type=content_type, cache_control=cache_control)
            )
        return size

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """As the port says."""
        body = await self.do(lambda: self.bucket.open(key))

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await self.do(self.bucket.read, body, CHUNK):
                yield chunk

        try:
            yield chunks()
        finally:
            body.close()

    async def size(self, key: str) -> int | None:
        """As the port says."""
        try:
            return await self.do(lambda: self.bucket.size(key))
        except ObjectMissing:
            return None

    async def listing(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[StoredObject]:
        """As the port says."""
        try:
            return await self.do(lambda: self.bucket.listing(prefix, after=after, limit=limit))
        except ObjectMissing:  # no bucket, no objects
            return ()

    async def delete(self, keys: Sequence[str]) -> None:
        """As the port says."""
        try:
            await self.do(lambda: self.bucket.delete(keys))
        except ObjectMissing:  # no bucket, no objects
            return

    async def ping(self) -> None:
        """As the port says."""
        await self.do(lambda: self.bucket.ping())  # noqa: PLW0108 - the bucket is opened on the thread

    async def check(self) -> str | None:
        """Begins an upload and gives it up: nothing stays. A note where there is no bucket yet.

        Raises ServiceAway where S3 is away, refuses the key, or takes no objects.
        """
        return await self.do(lambda: self.bucket.check())  # noqa: PLW0108 - the bucket is opened on the thread

    async def do(self, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """What the call answers, made on one of the store's threads."""
        loop = asyncio.get_running_loop()
        # The thread goes on with the trace of its caller.
        run = partial(copy_context().run, call, *args, **kwargs)
        return await loop.run_in_executor(self._threads, run)
