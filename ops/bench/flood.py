"""One account floods, another goes on as ever. Run as a child; see `children`.

In:  {"url": "...", "tokens": [flooder, other], "orders": [[{"sku", "quantity"}, ...], ...], "flood": 5000,
      "senders": 32, "every": 0.1, "alone": 5.0}
Out: {"alone_ms": [...], "beside_ms": [...], "accepted_in": 6.1, "flood_in": 35.2}

The other sends an order each `every` seconds: for `alone` seconds before the flood, and until the flood has
been placed. Its latencies are from the POST to the final state.
"""

import asyncio
import random
import time
from typing import Any

import uvloop

from domain.values import new_id
from ops.bench import children
from ops.bench.client import ACCEPTED, ADDRESS, OK, WAIT
from ops.client import Client

#: Orders at the end of the flood that have to be settled for it to be over.
LAST = 5


class Flood:
    """Both accounts."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self._chance = random.Random(1)
        self._flooder, self._other = (Client([wanted["url"]], token=each) for each in wanted["tokens"])
        self._flooding = False
        self._over = asyncio.Event()
        self._left = wanted["flood"]
        self._sent: list[str] = []
        self.latencies: dict[str, list[float]] = {"alone": [], "beside": []}
        self.accepted_in = 0.0
        self.flood_in = 0.0

    async def run(self) -> None:
        """Returns once the flood has been placed, and every order of the other."""
        async with self._flooder, self._other:
            other = asyncio.create_task(self._go_on())
            await asyncio.sleep(self._wanted["alone"])
            self._flooding = True
            began = time.perf_counter()
            await asyncio.gather(*(self._send() for _ in range(self._wanted["senders"])))
            self.accepted_in = time.perf_counter() - began
            await self._placed()
            self.flood_in = time.perf_counter() - began
            self._over.set()
            await other

    async def _send(self) -> None:
        while self._left > 0:
            self._left -= 1
            answer = await self._flooder.post("/v1/orders", self._order(), key=new_id())
            self._sent.append(answer.expect(ACCEPTED).json()["id"])

    async def _placed(self) -> None:
        """Returns once the flood's last orders are settled: one account's go in the order of their ids."""
        for order_id in sorted(self._sent)[-LAST:]:
            while True:
                answer = await self._flooder.get(f"/v1/orders/{order_id}?wait={WAIT}")
                if answer.expect(OK).json()["state"] != "pending":
                    break

    async def _go_on(self) -> None:
        orders: list[asyncio.Task[None]] = []
        while not self._over.is_set():
            orders.append(asyncio.create_task(self._one("beside" if self._flooding else "alone")))
            await asyncio.sleep(self._wanted["every"])
        await asyncio.gather(*orders)

    async def _one(self, when: str) -> None:
        began = time.perf_counter()
        answer = await self._other.post("/v1/orders", self._order(), key=new_id())
        order_id = answer.expect(ACCEPTED).json()["id"]
        while True:
            answer = await self._other.get(f"/v1/orders/{order_id}?wait={WAIT}")
            if answer.expect(OK).json()["state"] != "pending":
                break
        self.latencies[when].append((time.perf_counter() - began) * 1000)

    def _order(self) -> dict[str, Any]:
        return {"items": self._chance.choice(self._wanted["orders"]), "address": ADDRESS}


async def main() -> None:
    """Runs both, and answers."""
    flood = Flood(children.question())
    await flood.run()
    children.answer(
        {
            "alone_ms": [round(each, 2) for each in flood.latencies["alone"]],
            "beside_ms": [round(each, 2) for each in flood.latencies["beside"]],
            "accepted_in": round(flood.accepted_in, 3),
            "flood_in": round(flood.flood_in, 3),
        }
    )


if __name__ == "__main__":
    uvloop.run(main())
