"""S3 for those without credentials: forms and parts to upload to, addresses to read at."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from domain.adapters.s3 import S3ObjectStore
from domain.ports import ObjectMissing, UploadForm, UploadRefused
from domain.settings import S3
from domain.values import Clock

if TYPE_CHECKING:
    from domain.adapters.s3_calls import DirectCalls

Result = TypeVar("Result")


class S3Direct:
    """`ports.UploadStore` and `ports.UrlSigner` over the bucket of an object store, on its threads."""

    #: S3's signed addresses are good at once, and for anybody.
    restricts = False

    def __init__(self, settings: S3, store: S3ObjectStore, *, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock

    @cached_property
    def _calls(self) -> "DirectCalls":
        # For the store's threads only, as with `S3ObjectStore.bucket`.
        from domain.adapters.s3_calls import DirectCalls  # noqa: PLC0415

        return DirectCalls(self._settings, self._store.bucket)

    async def form(self, key: str, *, size: int, content_type: str, seconds: int) -> UploadForm:
        """As the port says."""
        return await self._do(
            lambda calls: calls.form(key, size=size, content_type=content_type, seconds=seconds)
        )

    async def begin(self, key: str, *, content_type: str) -> str:
        """As the port says."""
        return await self._do(lambda calls: calls.begin(key, content_type=content_type))

    async def part_urls(self, key: str, upload_id: str, sizes: Sequence[int], *, seconds: int) -> list[str]:
        """As the port says."""
        return await self._do(lambda calls: calls.part_urls(key, upload_id, sizes, seconds=seconds))

    async def finish(self, key: str, upload_id: str, etags: Sequence[str]) -> None:
        """As the port says."""
        try:
            await self._do(lambda calls: calls.finish(key, upload_id, etags))
        except ObjectMissing as error:
            # It was put together before, or given up.
            if await self._store.size(key) is None:
                raise UploadRefused(key) from error

    async def abort(self, key: str, upload_id: str) -> None:
        """As the port says."""
        try:
            await self._do(lambda calls: calls.abort(key, upload_id))
        except ObjectMissing:
            return

    async def begun(
        self, prefix: str, *, before: datetime, after: str = "", limit: int = 1000
    ) -> tuple[list[tuple[str, str]], str]:
        """As the port says."""
        try:
            return await self._do(lambda calls: calls.begun(prefix, before=before, after=after, limit=limit))
        except ObjectMissing:  # no bucket, no uploads
            return [], ""

    async def sign(
        self, key: str, *, until: datetime, since: datetime | None = None, network: str | None = None
    ) -> str:
        """As the port says; `since` and `network` are None, see `restricts`."""
        del since, network
        seconds = max(1, round((until - self._clock()).total_seconds()))
        return await self._do(lambda calls: calls.readable(key, seconds=seconds))

    async def _do(self, call: "Callable[[DirectCalls], Result]") -> Result:
        return await self._store.do(lambda: call(self._calls))
