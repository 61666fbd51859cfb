"""Processes that decode pictures: as many as the settings say, each with one picture at a time.

libvips is C, and so are the decoders in it. A worker has many jobs in hand, which a crash would cut short,
and a decoder that hangs cannot be interrupted within a process. So pictures are decoded in processes of
their own, which are ended where they take too long, and begun again.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Self

import domain
from domain.media.renditions import Form
from domain.observe import logger
from domain.settings import Media as MediaSettings

log = logger(__name__)

#: Pictures of one process: what libraries leak goes with it.
PICTURES = 200
#: Seconds that a process may take to start.
START = 60.0
#: Seconds past its time after which a process ends itself, as nobody else has.
GRACE = 5
#: Bytes of the longest answer.
LONGEST = 1_048_576
#: What processes need of this one's environment; secrets are not in it.
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
#: One heap for all threads, and no picture on disk, whatever its size.
_OWN = {"MALLOC_ARENA_MAX": "1", "VIPS_DISC_THRESHOLD": "1000g"}
_ROOT = Path(domain.__file__).parent.parent


class Busy(Exception):
    """All processes had pictures for as long as was waited."""


class Lost(Exception):
    """The process ended, or was ended as its time was over, before it had an answer."""


class CannotStart(Exception):
    """No process could be started: nothing is known of any picture."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each process."""

    #: Seconds that one picture may take.
    seconds: float
    #: Bytes of memory.
    memory: int
    threads: int


class Renderers:
    """Hands pictures to processes, which are started with the first picture."""

    def __init__(self, *, processes: int, limits: Limits, patience: float = 30.0) -> None:
        self._places = asyncio.Semaphore(processes)
        self._idle: list[_Renderer] = []
        self._limits = limits
        self._patience = patience
        self._closed = False

    @classmethod
    def of(cls, settings: MediaSettings) -> Self:
        """As many, and with such limits, as the settings say."""
        limits = Limits(settings.render_time.total_seconds(), settings.render_memory, settings.render_threads)
        return cls(processes=settings.render_processes, limits=limits)

    @asynccontextmanager
    async def place(self) -> AsyncIterator["_Renderer"]:
        """A process to oneself. Raises Busy where none is free for a while."""
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise Busy from None
        renderer = self._idle.pop() if self._idle else _Renderer(self._limits)
        try:
            yield renderer
        finally:
            if self._closed:
                await renderer.end()
            else:
                self._idle.append(renderer)
            self._places.release()

    async def close(self) -> None:
        """Ends the processes that are idle, and the others with their picture. Idempotent."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()


class _Renderer:
    """One place, and the process that has it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: Process | None = None
        self._pictures = 0

    async def render(
        self, path: Path, folder: Path, forms: Sequence[Form], *, max_pixels: int
    ) -> Mapping[str, Any]:
        """What `render_process.answer` answers.

        Raises Lost where no process has an answer: it was tried with two of them. Raises CannotStart.
        """
        order = {
            "path": str(path),
            "folder": str(folder),
            "forms": [asdict(form) for form in forms],
            "max_pixels": max_pixels,
        }
        try:
            return await self._ask(order)
        except Lost as error:
            log.warning("a picture is tried again in another process", reason=str(error))
        return await self._ask(order)

    async def _ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        process = await self._started()
        try:
            async with asyncio.timeout(self._limits.seconds):
                line = await _exchange(process, order)
        except TimeoutError:
            await self.end()
            raise Lost("its time was over") from None
        except BaseException:  # whoever waited was cancelled: the answer would be the next one's
            await self.end()
            raise
        if not line.endswith(b"\n"):
            await self.end()
            raise Lost(f"its process ended with {process.returncode}")
        self._pictures += 1
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    async def _started(self) -> Process:
        if self._pictures >= PICTURES or (self._process and self._process.returncode is not None):
            await self.end()
        if self._process is None:
            self._pictures = 0
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "domain.media.render_process",
                str(self._limits.threads), str(self._limits.memory), str(ceil(self._limits.seconds) + GRACE),
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=_ROOT, limit=LONGEST,
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | _OWN,
            )  # fmt: skip
            await self._require_ready(process)
        return self._process

    async def _require_ready(self, process: Process) -> None:
        line = b""
        try:
            async with asyncio.timeout(START):
                line = await process.stdout.readline() if process.stdout else b""
        except TimeoutError:
            pass
        except BaseException:
            await self.end()
            raise
        if not line:
            await self.end()
            raise CannotStart(f"the process ended with {process.returncode}")

    async def end(self) -> None:
        """Ends the process, if there is one. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdout and process.stdout.at_eof():  # it ends by itself
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def _exchange(process: Process, order: Mapping[str, Any]) -> bytes:
    """The line that the process answers; less than one where it has ended."""
    if process.stdin is None or process.stdout is None:
        return b""
    with suppress(ConnectionError):
        process.stdin.write(json.dumps(order).encode() + b"\n")
        await process.stdin.drain()
    return await process.stdout.readline()
