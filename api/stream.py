"""Following an account's events as server-sent events: the store for what was, pub/sub for what comes."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from fastapi import Request
from pymongo.errors import PyMongoError

from api.deps import Caller
from domain.events.rules import account_channel, envelope
from domain.observe import logger

log = logger(__name__)

#: Seconds of silence after which a heartbeat is sent, and the store is looked at.
HEARTBEAT = 15.0
#: Events that one look at the store brings.
PAGE = 200
#: Payloads that were told lately and are kept as they are sent.
RECENT = 1000
#: What the subscription yields when messages may have been missed.
RESYNC = ""


async def follow(request: Request, caller: Caller, whose: str, after: int) -> AsyncIterator[str]:
    """The account's events with a greater `seq` than `after`, in order, each once, until the client leaves.

    `whose` is the account's id, or SHOP. Ends, too, when the token expires, when the process stops, and when
    the store is away: the client comes back with its `Last-Event-ID`.
    """
    feed = _Feed(caller, whose, after)
    with request.app.state.gate.parked():
        try:
            async with caller.services.pubsub.subscribe(account_channel(whose)) as told:
                yield "retry: 1000\n\n"
                async for text in feed.replay():
                    yield text
                async for payload in _payloads(request, caller, told):
                    async for text in feed.take(payload):
                        yield text
        except PyMongoError as error:
            log.warning("a stream ends: the store is away", error=type(error).__name__)


async def _payloads(request: Request, caller: Caller, told: AsyncIterator[str]) -> AsyncIterator[str | None]:
    """What the channel tells; None after each `HEARTBEAT` of silence.

    Ends with the process, the token, and its session: nothing is told once that is revoked.
    """
    stopping = request.app.state.stopping
    coming = asyncio.ensure_future(anext(told))
    try:
        while True:
            await stopping.first_of([coming], seconds=HEARTBEAT)
            if stopping.now or not await caller.still_in():
                return
            if not coming.done():
                yield None
                continue
            payload = coming.result()
            coming = asyncio.ensure_future(anext(told))
            yield payload
    finally:
        coming.cancel()


class _Feed:
    """Where one stream is."""

    def __init__(self, caller: Caller, whose: str, after: int) -> None:
        self._events = caller.services.events
        self._account_id = whose
        self._seq = after

    async def take(self, payload: str | None) -> AsyncIterator[str]:
        """What to send for a payload: itself when it is the next event, else what the store has."""
        seq, text = _message(payload) if payload else (None, "")
        if seq is not None and seq <= self._seq:
            return
        if seq == self._seq + 1:
            self._seq = seq
            yield text
            return
        async for text in self.replay():
            yield text
        if payload is None:
            yield f'event: heartbeat\ndata: {{"last_seq":{self._seq}}}\n\n'

    async def replay(self) -> AsyncIterator[str]:
        """What the store has after the last event that was sent."""
        while found := await self._events.after(self._account_id, self._seq, limit=PAGE):
            for event in found:
                self._seq, text = event["seq"], _text(envelope(event))
                yield text
            if len(found) < PAGE:
                return


@lru_cache(maxsize=RECENT)
def _message(payload: str) -> tuple[int, str]:
    """The event's `seq`, and what is sent of it: the same for all who listen."""
    event = json.loads(payload)
    return event["seq"], _text(event)


def _text(event: dict[str, Any]) -> str:
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return f"id: {event['seq']}\nevent: {event['type']}\ndata: {data}\n\n"
