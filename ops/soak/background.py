"""What goes on in a thread of its own while it is open: looks that are repeated, and servers of asyncio."""

import asyncio
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Background(ABC):
    """A thread that begins with the context and ends with it."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begins."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends."""
        self._stop()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """All that the thread does."""

    @abstractmethod
    def _stop(self) -> None:
        """Has `_run` return."""


class Repeated(Background):
    """Looks again and again, with `every` seconds in between."""

    def __init__(self, *, every: float) -> None:
        super().__init__()
        self._every = every
        self._over = threading.Event()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._look()

    def _stop(self) -> None:
        self._over.set()

    @abstractmethod
    def _look(self) -> None:
        """One look."""


class Server(Background):
    """What a shop sends to goes to `port`, on loopback."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        """Listens."""
        super().__enter__()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _listen(self) -> int:
        self._server = server = await self._serve()
        return int(server.sockets[0].getsockname()[1])

    @abstractmethod
    async def _serve(self) -> asyncio.Server:
        """Takes any port."""
