"""A process's own part: it tells that it is there, and hears what ops want of it."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from domain.changes import Doc
from domain.control.models import CHANNEL
from domain.control.processes import Facts, Identity, Processes
from domain.control.queues import Queues
from domain.observe import logger
from domain.ports import PubSub
from domain.values import Clock, new_id

log = logger(__name__)

#: Seconds between two tries of a process that does not know yet what is wanted of it.
ASK_AGAIN = 0.5
#: Seconds after which work that goes on although it was cancelled is cancelled again.
CANCEL_AGAIN = 0.2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ops want of this process."""

    #: It takes no more jobs, of any pool.
    drained: bool = False
    #: It takes no jobs of these pools.
    paused: frozenset[str] = frozenset()


class Attendance:
    """Beats, and looks what is wanted: with every beat, and at once when it is told to look."""

    def __init__(
        self,
        *,
        processes: Processes,
        queues: Queues,
        pubsub: PubSub,
        who: Identity,
        facts: Callable[[], Facts],
        obey: Callable[[Wanted], None] = lambda _wanted: None,
    ) -> None:
        self._processes = processes
        self._queues = queues
        self._pubsub = pubsub
        self._facts = facts
        self._obey = obey
        self._drain: Doc | None = None
        self.who = who

    @asynccontextmanager
    async def attending(self) -> AsyncIterator[None]:
        """Enters once it is known what is wanted. Leaves without a trace."""
        async with self._pubsub.subscribe(CHANNEL) as told:
            while not await self._look():  # noqa: ASYNC110 - the store is no event
                await asyncio.sleep(ASK_AGAIN)
            async with beside(self._keep_looking(Hints(told))):
                yield
        await self._processes.leave(self.who.id)

    async def _keep_looking(self, hints: "Hints") -> None:
        async with hints.listening():
            while True:
                await hints.wait(self._processes.every.total_seconds())
                try:
                    await self._look()
                except Exception:
                    # Nothing may end the one task that drains and pauses hang on.
                    log.exception("what ops want could not be looked up")

    async def _look(self) -> bool:
        """False where the store did not say."""
        try:
            await self._processes.beat(self.who, self._facts(), drain=self._drain)
            self._drain = await self._processes.drain_of(self.who.id)
            paused = await self._queues.paused()
        except PyMongoError as error:
            log.info("what ops want is not known", error=type(error).__name__)
            return False
        self._obey(Wanted(drained=self._drain is not None, paused=paused))
        return True


class Hints:
    """Payloads of a channel as one event: many hints at once are one look."""

    def __init__(self, told: AsyncIterator[str]) -> None:
        self._told = told
        self._arrived = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens while it is open."""
        async with beside(self._listen()):
            yield

    async def wait(self, seconds: float) -> None:
        """Returns at the next hint, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        self._arrived.clear()

    async def _listen(self) -> None:
        async for _ in self._told:
            self._arrived.set()


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs the work while it is open, and ends it then."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        # A cancellation may come out of the store's client as an error, and be taken for its absence.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_AGAIN)


def identity(role: str, *, clock: Clock, pools: Sequence[str] = (), threads: int = 0) -> Identity:
    """Who this process is."""
    return Identity(
        id=new_id(),
        role=role,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=version("stockyard"),
        started_at=clock(),
        pools=tuple(pools),
        threads=threads,
    )


def memory_bytes() -> int:
    """The process's resident memory; where the system does not tell, the most that it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
