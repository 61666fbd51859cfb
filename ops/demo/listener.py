"""A listener on Redis pub/sub: counts what it is told, once, and replays what it may have missed."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from domain.events.rules import account_channel
from domain.ports import PubSub
from ops.demo.shop import Customer


class Listener:
    """Events of some accounts, by type."""

    def __init__(self, customers: Sequence[Customer]) -> None:
        self._customers = customers
        self._seen: set[tuple[str, int]] = set()
        self._heard = asyncio.Event()
        self.by_type: Counter[str] = Counter()
        #: How often the connection broke, or too much waited, so that the listener had to replay.
        self.replays = 0

    @property
    def total(self) -> int:
        """Events received."""
        return len(self._seen)

    @asynccontextmanager
    async def listening(self, pubsub: PubSub) -> AsyncIterator[None]:
        """Listens while it is open."""
        channels = [account_channel(customer.account_id) for customer in self._customers]
        async with pubsub.subscribe(*channels) as payloads:
            task = asyncio.create_task(self._listen(payloads))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def hear(self, total: int, *, seconds: float) -> None:
        """Returns once `total` events were received, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.total < total:
                    self._heard.clear()
                    await self._heard.wait()

    async def _listen(self, payloads: AsyncIterator[str]) -> None:
        async for payload in payloads:
            if payload:
                self._count(json.loads(payload))
            else:
                await self._replay()

    async def _replay(self) -> None:
        self.replays += 1
        for customer in self._customers:
            for event in await customer.events(after=self._last(customer)):
                self._count(event)

    def _last(self, customer: Customer) -> int:
        """Up to where nothing is missing."""
        source = f"/accounts/{customer.account_id}"
        seq = 0
        while (source, seq + 1) in self._seen:
            seq += 1
        return seq

    def _count(self, event: Mapping[str, Any]) -> None:
        place = event["source"], event["seq"]
        if place not in self._seen:
            self._seen.add(place)
            self._heard.set()
            self.by_type[event["type"]] += 1
