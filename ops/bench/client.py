"""The load: keep-alive connections that send one request after the other. Run as a child; see `children`.

It builds each request by hand and uses bare connections of `ops/client.py`, so that it takes as little as
possible from what it measures.

In:  {"urls": [...], "tokens": [...], "orders": [[{"sku", "quantity"}, ...], ...], "clients": 32,
      "warm_up": 1.0, "seconds": 8.0, "limit": 0, "follow": true, "path": "/v1/orders"}
Out: {"done": 1234, "total": 1399, "seconds": 8.0, "latencies_ms": [...], "states": {"reserved": 1234},
      "cpu_seconds": 1.1}

It ends after `seconds`, or after `limit` orders where that is not 0.
With `follow` an order is done when its client sees its final state, else when it is accepted.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import uvloop

from ops.bench import children
from ops.client import Answer, Connection, connect

ADDRESS = {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"}
#: Seconds that the server may hold the answer back until the order has ended.
WAIT = 10
ACCEPTED, OK = 202, 200


class Load:
    """What all clients of one case share."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self._begin = time.perf_counter() + wanted["warm_up"]
        self._end = self._begin + wanted["seconds"]
        self._bodies = [
            json.dumps({"items": items, "address": ADDRESS}).encode() for items in wanted["orders"]
        ]
        self.latencies: list[float] = []
        self.states: Counter[str] = Counter()
        #: Orders of the warm-up and of the last moment included.
        self.total = 0

    async def client(self, number: int) -> None:
        """Sends until the time is over. Raises ClientError for an answer that is none."""
        url = _nth(self._wanted["urls"], number)
        connection = await connect(url)
        token = _nth(self._wanted["tokens"], number)
        head = f"Host: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
        chance = random.Random(number)
        while self._goes_on():
            self.total += 1
            began = time.perf_counter()
            state = await self._order(connection, head, chance)
            ended = time.perf_counter()
            if self._begin <= ended <= self._end:
                self.latencies.append((ended - began) * 1000)
                self.states[state] += 1

    def _goes_on(self) -> bool:
        limit = self._wanted["limit"]
        return time.perf_counter() < self._end and not (limit and self.total >= limit)

    async def _order(self, connection: Connection, head: str, chance: random.Random) -> str:
        body, key = chance.choice(self._bodies), UUID(int=random.getrandbits(128), version=4)
        post = f"POST {self._wanted['path']} HTTP/1.1\r\n{head}Idempotency-Key: {key}\r\n"
        sized = f"{post}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = (await connection.exchange("POST", sized.encode() + body)).expect(ACCEPTED)
        return await self._follow(connection, head, answer) if self._wanted["follow"] else "accepted"

    async def _follow(self, connection: Connection, head: str, accepted: Answer) -> str:
        get = f"GET /v1/orders/{accepted.json()['id']}?wait={WAIT} HTTP/1.1\r\n{head}\r\n".encode()
        while True:
            answer = (await connection.exchange("GET", get)).expect(OK)
            state = str(answer.json()["state"])
            if state != "pending":
                return state


def _nth(values: Sequence[str], number: int) -> str:
    return values[number % len(values)]


async def main() -> None:
    """Runs all clients, and answers."""
    wanted = children.question()
    load = Load(wanted)
    await asyncio.gather(*(load.client(number) for number in range(wanted["clients"])))
    children.answer(
        {
            "done": len(load.latencies),
            "total": load.total,
            "seconds": wanted["seconds"],
            "latencies_ms": [round(each, 2) for each in load.latencies],
            "states": dict(load.states),
            "cpu_seconds": round(time.process_time(), 3),
        }
    )


if __name__ == "__main__":
    uvloop.run(main())
