"""A receiver of webhooks that is not always well, and what is wrong with those that came."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from domain.events.models import EVENTS
from domain.notifications.webhooks.rules import Recipient
from ops.books import Store
from ops.servers.ports import LOOPBACK
from ops.soak.background import Server

#: The events that the shop's endpoint wants: most of them, and none of payments.
WANTED = ("order.*", "hold.*", "stock.*")
#: Of a hundred calls, how many are answered 500, and how many not at all.
FAILS, HANGS = 8, 1
#: An event that was not taken so many times is taken: the pauses that follow are longer than a run.
PATIENT = 2
#: Seconds that the shop waits for an answer, and after which it goes by a new endpoint at the latest.
TIMEOUT, REFRESH = 2.0, 1.0


class Hooks(Server):
    """Takes calls that the shop has signed. `taken` counts them by the id of their event.

    While it is `ill` it fails some, or lets them hang. `violations` has what nobody should send.
    """

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.violations: list[str] = []
        self.secret = ""
        self.ill = False
        self._chance = random.Random(f"{seed}/hooks")

    @property
    def endpoint(self) -> Mapping[str, Any]:
        """What the shop has to add."""
        return {"url": f"http://{LOOPBACK}:{self.port}/hooks", "events": list(WANTED)}

    @property
    def settings(self) -> Mapping[str, str]:
        """Of processes that may call it."""
        return {
            "STOCKYARD_WEBHOOKS_ALLOW_LOOPBACK": "true",
            "STOCKYARD_WEBHOOKS_TIMEOUT": f"{TIMEOUT:g}s",
            "STOCKYARD_WEBHOOKS_REFRESH": f"{REFRESH:g}s",
        }

    async def _serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._calls, LOOPBACK, 0)

    async def _calls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                headers, body = await _read(reader)
                await self._answer(self._verified(headers, body), writer)

    def _verified(self, headers: Mapping[str, str], body: bytes) -> str:
        """The event's id; "" where the shop has not signed it."""
        try:
            event = Webhook(self.secret).verify(body, dict(headers))
        except (WebhookVerificationError, ValueError) as error:
            self.violations.append(f"a webhook that is not signed by the shop: {error}")
            return ""
        if event["id"] != headers["webhook-id"]:
            self.violations.append(f"webhook {headers['webhook-id']} is about event {event['id']}")
        return str(headers["webhook-id"])

    async def _answer(self, event_id: str, writer: asyncio.StreamWriter) -> None:
        status = self._status(event_id)
        if status is None:
            self.refused[event_id] += 1
            await asyncio.sleep(TIMEOUT + 1)
            return
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        (self.taken if status == 200 else self.refused)[event_id] += 1  # noqa: PLR2004

    def _status(self, event_id: str) -> int | None:
        """None where it hangs."""
        if not event_id:
            return 401
        lot = self._chance.randrange(100) if self.ill and self.refused[event_id] < PATIENT else 100
        return None if lot < HANGS else 500 if lot < HANGS + FAILS else 200


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return headers, await reader.readexactly(int(headers["content-length"]))


def odd_calls(database: Store, taken: Mapping[str, int], *, since: datetime) -> Iterator[str]:
    """Events since then that were not taken, and what was taken and is none that the endpoint wants."""
    endpoint = Recipient("", frozenset(WANTED))
    rows = database[EVENTS].find({}, {"type": 1, "time": 1})
    wanted = {row["_id"]: row["time"] for row in rows if endpoint.wants(row["type"])}
    for event_id in sorted(each for each, time in wanted.items() if time >= since and each not in taken):
        yield f"event {event_id} never came"
    for event_id in sorted(taken.keys() - wanted.keys()):
        yield f"event {event_id} is none of the endpoint's"
