"""More clients than places: each sends orders, and pauses when it is refused. Run as a child; see `children`.

In:  {"url": "...", "tokens": [...], "orders": [[{"sku", "quantity"}, ...], ...], "clients": 128,
      "warm_up": 1.0, "seconds": 5.0, "pause": 1.0}
Out: {"accepted": 1234, "refused": 4321, "latencies_ms": [...], "refusals_ms": [...]}

The latencies are those of accepted orders. A refusal has to be a 503 with `Retry-After`.
"""

import asyncio
import json
import random
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import uvloop

from ops.bench import children
from ops.bench.client import ACCEPTED, ADDRESS
from ops.client import connect

REFUSED = 503


class Crowd:
    """What all clients share."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self._begin = time.perf_counter() + wanted["warm_up"]
        self._end = self._begin + wanted["seconds"]
        self._bodies = [
            json.dumps({"items": items, "address": ADDRESS}).encode() for items in wanted["orders"]
        ]
        self.taken: dict[int, list[float]] = {ACCEPTED: [], REFUSED: []}

    async def client(self, number: int) -> None:
        """Sends until the time is over. Raises ClientError for any third answer."""
        chance, url = random.Random(number), self._wanted["url"]
        token = self._wanted["tokens"][number % len(self._wanted["tokens"])]
        head = f"Host: {urlsplit(url).netloc}\r\nAuthorization: Bearer {token}\r\n"
        # Not all in the same moment: a crowd does not come in step.
        await asyncio.sleep(chance.uniform(0, self._wanted["pause"]))
        connection = await connect(url)
        while time.perf_counter() < self._end:
            began = time.perf_counter()
            answer = await connection.exchange("POST", self._order(head, chance))
            answer.expect(ACCEPTED, REFUSED)
            ended = time.perf_counter()
            if self._begin <= ended <= self._end:
                self.taken[answer.status].append((ended - began) * 1000)
            if answer.status == REFUSED:
                await asyncio.sleep(self._wanted["pause"] * chance.uniform(0.5, 1.5))

    def _order(self, head: str, chance: random.Random) -> bytes:
        body, key = chance.choice(self._bodies), UUID(int=random.getrandbits(128), version=4)
        post = f"POST /v1/orders HTTP/1.1\r\n{head}Idempotency-Key: {key}\r\n"
        return f"{post}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def main() -> None:
    """Runs all clients, and answers."""
    wanted = children.question()
    crowd = Crowd(wanted)
    await asyncio.gather(*(crowd.client(number) for number in range(wanted["clients"])))
    accepted, refused = crowd.taken[ACCEPTED], crowd.taken[REFUSED]
    children.answer(
        {
            "accepted": len(accepted),
            "refused": len(refused),
            "latencies_ms": [round(each, 2) for each in accepted],
            "refusals_ms": [round(each, 2) for each in refused],
        }
    )


if __name__ == "__main__":
    uvloop.run(main())
