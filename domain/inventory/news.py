"""What is told of stock goes to the shop's own stream, which all processes write."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from domain.events.models import NewEvent
from domain.events.rules import SHOP, cursor_lock
from domain.events.service import Events
from domain.ports import Locks


@asynccontextmanager
async def numbered(
    new: Sequence[NewEvent], cursors: Mapping[str, int], *, events: Events, locks: Locks
) -> AsyncIterator[Mapping[str, int]]:
    """The cursors to record the events with, until they are stored.

    Where the shop's own stream is among them its lock is held meanwhile, last of all locks, and its cursor is
    read: else two transactions that tell of stock would often take the same number. Costs nothing otherwise.
    """
    if not any(event.account_id == SHOP for event in new):
        yield cursors
        return
    async with locks.hold([cursor_lock(SHOP)]):
        yield {**cursors, **await events.cursors([SHOP])}
