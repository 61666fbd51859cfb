# ruff: noqa: ARG002 - the driver says what its listeners are handed
"""How many connections to the store there are, and how long their callers wait for one."""

import asyncio
import time
from typing import Any

from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from domain.ports import Connections

#: Seconds after which a wait is taken for one that was cancelled, and its task for busy with something else.
LOST = 30.0


class PoolWatch(ConnectionPoolListener):
    """Counts by the driver's own events, over all servers of a set. For the event loop of its client."""

    def __init__(self) -> None:
        self._open = self._in_use = self._failed = 0
        #: Who waits for a connection, and since when; the first is the oldest.
        self._since: dict[asyncio.Task[Any] | None, float] = {}

    def counts(self) -> Connections:
        """As they are now; `failed` since the start."""
        self._forget_cancelled()
        return Connections(
            open=self._open, in_use=self._in_use, waiting=len(self._since), failed=self._failed
        )

    def wait(self) -> float:
        """Seconds that the longest of those who wait for a connection has waited."""
        self._forget_cancelled()
        return time.monotonic() - next(iter(self._since.values())) if self._since else 0.0

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """As the driver calls it."""
        self._open += 1

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """As the driver calls it."""
        self._open -= 1

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """As the driver calls it."""
        self._forget_cancelled()
        task = _task()
        self._since.pop(task, None)
        self._since[task] = time.monotonic()

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """As the driver calls it."""
        self._served()
        self._in_use += 1

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """As the driver calls it."""
        self._served()
        self._failed += 1

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """As the driver calls it."""
        self._in_use -= 1

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Tells nothing that is counted."""

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Tells nothing that is counted."""

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Tells nothing that is counted."""

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """Tells nothing that is counted: each connection is closed by an event of its own."""

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """Tells nothing that is counted."""

    def _served(self) -> None:
        self._since.pop(_task(), None)

    def _forget_cancelled(self) -> None:
        """Nobody is told of a wait that was cancelled: its task has ended, or goes on with something else."""
        while self._since:
            task, since = next(iter(self._since.items()))
            if not (task is None or task.done()) and time.monotonic() - since < LOST:
                return
            del self._since[task]


def _task() -> asyncio.Task[Any] | None:
    """Whose wait an event is about: the driver tells its listeners where it waits."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
