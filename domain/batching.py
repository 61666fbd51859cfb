"""Group commit: concurrent calls become one batch.

While one batch is at work the next one gathers, so batches grow with the load and a lone call waits for
nobody. At most one batch of a `Batcher` is at work at a time; items run in the order they came.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

from domain import telemetry
from domain.observe import logger

log = logger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What applies a batch: as many results as items, in order. An exception among them is that item's alone.
Apply = Callable[[list[Item]], Awaitable[Sequence[Result | BaseException]]]
#: Told each batch's size.
Observe = Callable[[int], None]


class Batcher(Generic[Item, Result]):
    """Gathers concurrent `submit` calls into calls of `apply`.

    Args:
      apply: runs a batch. If it raises, every item of the batch gets the exception.
      max_size: the most items of one batch.
      halve_from: where more items than this wait, a batch takes half of them, and at least so many. Else
        all who submit would wait for the same batch, and do nothing while it is at work.
      linger: seconds to gather before a batch starts that found the batcher idle.
      observe: told each batch's size.
      gate: held while a batch is at work. Batchers that share one take turns, and gather while they wait:
        where they compete for the same documents, that makes fewer and larger batches.
    """

    def __init__(
        self,
        apply: Apply[Item, Result],
        *,
        max_size: int = 64,
        halve_from: int | None = None,
        linger: float = 0.0,
        observe: Observe | None = None,
        gate: asyncio.Lock | None = None,
    ) -> None:
        self._gate = gate or asyncio.Lock()
        self._apply = apply
        self._max_size = max_size
        self._halve_from = halve_from or max_size
        self._linger = linger
        self._observe = observe
        #: With each item, who waits for it, and the span that it comes from.
        self._waiting: deque[tuple[Item, asyncio.Future[Result], Any]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """The item's own result; raises the item's own exception, or the batch's.

        A caller that is cancelled leaves its item in the batch: what was begun is finished.
        """
        return await self._add(item)

    def post(self, item: Item) -> None:
        """As `submit`, for a caller that does not wait; what goes wrong is logged."""
        self._add(item).add_done_callback(_log_failure)

    async def drain(self) -> None:
        """Returns when everything that was submitted has been applied."""
        while self._runner is not None and not self._runner.done():
            await asyncio.wait([self._runner])

    def _add(self, item: Item) -> "asyncio.Future[Result]":
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future, telemetry.origin()))
        if self._runner is None or self._runner.done():
            # A context of its own: a batch is nobody's request.
            self._runner = asyncio.create_task(self._run(), context=Context())
        return future

    async def _run(self) -> None:
        await asyncio.sleep(self._linger)
        while self._waiting:
            async with self._gate:
                await self._next()

    async def _next(self) -> None:
        waiting = len(self._waiting)
        size = min(self._max_size, waiting, max(self._halve_from, waiting // 2))
        batch = [self._waiting.popleft() for _ in range(size)]
        if self._observe is not None:
            self._observe(size)
        if not telemetry.is_on():
            await self._settle(batch)
            return
        with telemetry.batch(_name_of(self._apply), [origin for _, _, origin in batch]):
            await self._settle(batch)

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Result], Any]]) -> None:
        results: Sequence[Result | BaseException]
        try:
            results = await self._apply([item for item, _, _ in batch])
            if len(results) != len(batch):
                msg = f"{len(results)} results for {len(batch)} items"
                raise RuntimeError(msg)  # noqa: TRY301 - handed to every caller below
        except asyncio.CancelledError:
            for _, future, _ in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed to every caller
            telemetry.failed(error)
            results = [error] * len(batch)
        for (_, future, _), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


def _name_of(apply: Any) -> str:
    """Of the function that applies a batch, for people."""
    return str(getattr(getattr(apply, "func", apply), "__qualname__", "batch"))


def _log_failure(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled() and future.exception() is not None:
        log.warning("a posted item failed", error=repr(future.exception()))
