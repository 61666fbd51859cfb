"""Customers who do not give up: each order is submitted under one key until it was accepted."""

import random
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from itertools import cycle
from typing import Any
from uuid import UUID

import httpx

ADDRESS = {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"}
#: Seconds between two tries, and until one is given up.
PAUSE, TIMEOUT = 0.1, 15.0
#: One accepted order in so many is submitted again, to see that nothing comes of it.
REPEAT_EVERY = 10


class Customers:
    """One thread per token; together they submit about `rate` orders per second.

    `accepted` holds each key that was answered 202, with the order's id.
    """

    def __init__(
        self, urls: Sequence[str], tokens: Sequence[str], skus: Sequence[str], *, seed: int, rate: float
    ) -> None:
        self.accepted: dict[str, str] = {}
        self.replayed = 0
        self.retried = 0
        self.violations: list[str] = []
        self.began = 0.0
        self._urls = list(urls)
        self._skus = list(skus)
        self._every = len(tokens) / rate
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._shop, args=(n, token, random.Random(f"{seed}/{n}")), daemon=True)
            for n, token in enumerate(tokens)
        ]

    def start(self) -> None:
        """Returns at once."""
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self, *, seconds: float = 60.0) -> None:
        """No new orders; returns when those on their way were accepted."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = sum(thread.is_alive() for thread in self._threads)
        if stuck:
            self.violations.append(f"{stuck} customers could not submit their last order in {seconds:.0f} s")

    def _shop(self, number: int, token: str, chance: random.Random) -> None:
        urls = cycle(self._urls[number % len(self._urls) :] + self._urls[: number % len(self._urls)])
        headers = {"Authorization": f"Bearer {token}"}
        count = 0
        with httpx.Client(headers=headers, timeout=TIMEOUT) as client:
            while not self._stop.wait(chance.uniform(0.5, 1.5) * self._every):
                key, order = str(UUID(int=chance.getrandbits(128), version=4)), self._order(chance)
                self._submit(client, urls, key, order)
                count += 1
                if count % REPEAT_EVERY == 0:
                    self._submit(client, urls, key, order)

    def _order(self, chance: random.Random) -> dict[str, Any]:
        lines = chance.sample(self._skus, chance.randint(1, 3))
        return {
            "items": [{"sku": sku, "quantity": chance.randint(1, 3)} for sku in lines],
            "address": ADDRESS,
        }

    def _submit(self, client: httpx.Client, urls: Any, key: str, order: dict[str, Any]) -> None:
        """Until it is accepted; another answer than 202 or a 5xx is a violation."""
        while True:
            try:
                answer = client.post(f"{next(urls)}/v1/orders", json=order, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                status = 0
            else:
                status = answer.status_code
            if status == HTTPStatus.ACCEPTED:
                self._note(key, answer.json()["id"])
                return
            if 0 < status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.violations.append(f"{key}: {status} {answer.text[:200]}")
                return
            with self._lock:
                self.retried += 1
            time.sleep(PAUSE)

    def _note(self, key: str, order_id: str) -> None:
        with self._lock:
            first = self.accepted.get(key)
            if first is None:
                self.accepted[key] = order_id
                return
            self.replayed += 1
            if first != order_id:
                self.violations.append(f"{key}: {first} at first, then {order_id}")
