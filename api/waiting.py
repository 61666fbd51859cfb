"""Waiting for a job's end without keeping others from work, or the process from stopping."""

import asyncio
from collections.abc import Iterable
from typing import Any

from fastapi import Request

from api.deps import Caller
from domain.jobs.rules import FINAL

#: A job's owner and the form in which it is shown.
Found = tuple[str, dict[str, Any]]


class Stopping:
    """Whether this process is about to stop. Made on its event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = False
        #: One for each `first_of`: to leave one that all share would take time with their number.
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def set(self) -> None:
        """Idempotent. Ends every `first_of`."""
        self._now = True
        for told in self._waiting.values():
            if not told.done():
                told.set_result(None)

    @property
    def now(self) -> bool:
        """Whether it was set."""
        return self._now

    async def first_of(self, tasks: Iterable[asyncio.Future[Any]], *, seconds: float | None = None) -> None:
        """Returns when one of the tasks is done, when the process is to stop, or after `seconds`."""
        if self._now:
            return
        told = self._loop.create_future()
        self._waiting[id(told)] = told
        try:
            await asyncio.wait({*tasks, told}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[id(told)]


async def find_job(request: Request, caller: Caller, job_id: str, *, wait: float) -> dict[str, Any] | None:
    """The job, ended or as it is after `wait` seconds; None where there is none that the caller may see."""
    signals, owner = caller.services.signals, caller.owner("ops:read")
    found = await signals.look(job_id)
    if found is None or owner not in (None, found[0]):
        return None
    if wait and found[1]["state"] not in FINAL:
        found = await _ended(request, caller, job_id, wait) or found
    return {**found[1], "owner": found[0]}


async def _ended(request: Request, caller: Caller, job_id: str, seconds: float) -> Found | None:
    signals, stopping = caller.services.signals, request.app.state.stopping
    with request.app.state.gate.parked():
        task = asyncio.create_task(signals.wait(job_id, seconds=seconds))
        try:
            await stopping.first_of([task])
            return task.result() if task.done() else await signals.look(job_id)
        finally:
            task.cancel()
