"""`python -m ops.bench.rolling`: what customers notice while every process is replaced.

Customers order all the time; then all workers, schedulers and the API's workers are replaced, one after
another. Prints a table and, as the last line, one JSON object; ends with 1 where a request failed although it
was repeated once, or an order is missing.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from domain.values import new_id
from ops import books, rolling
from ops.bench.children import ChildError
from ops.bench.client import ADDRESS
from ops.bench.figures import percentile, tidy
from ops.bench.platforms import Platform, Shape
from ops.fleet import FleetError
from ops.servers import StackError
from ops.stack import Stack

SKUS = [f"BENCH-{number:05}" for number in range(100)]
#: Seconds in which all orders have to be reserved afterwards.
SETTLED_WITHIN = 120.0
ACCEPTED = 202


@dataclass(slots=True)
class Load:
    """Customers, each with one order at a time, and what became of their requests."""

    url: str
    tokens: Sequence[str]
    ids: list[str] = field(default_factory=list)
    #: Milliseconds of each accepted order, by phase.
    taken: dict[str, list[float]] = field(default_factory=lambda: {"before": [], "during": []})
    retried: int = 0
    failed: int = 0
    phase: str = "before"
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, change: Callable[[], None], *, before: float) -> float:
        """Orders for `before` seconds and while `change` runs; answers how long that took."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            customers = [asyncio.create_task(self._order(client, token)) for token in self.tokens]
            await asyncio.sleep(before)
            self.phase, began = "during", time.perf_counter()
            try:
                await asyncio.to_thread(change)
            finally:
                self.over.set()
                await asyncio.gather(*customers)
            return time.perf_counter() - began

    async def _order(self, client: httpx.AsyncClient, token: str) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": new_id()}
            body = {"items": [{"sku": SKUS[number % len(SKUS)], "quantity": 1}], "address": ADDRESS}
            phase, began = self.phase, time.perf_counter()
            try:
                answer = await self._twice(lambda: client.post("/v1/orders", json=body, headers=headers))  # noqa: B023
                accepted = answer.status_code == ACCEPTED
            except httpx.TransportError:
                accepted = False
            if not accepted:
                self.failed += 1
                continue
            self.ids.append(answer.json()["id"])
            self.taken[phase].append(1000 * (time.perf_counter() - began))

    async def _twice(self, request: Callable[[], Any]) -> httpx.Response:
        try:
            found: httpx.Response = await request()
        except httpx.TransportError:
            self.retried += 1
            found = await request()
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 where something was lost, or after one line on standard error."""
    asked = _parser().parse_args(argv)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack("bench-rolling", environ=own)
    try:
        urls = stack.up(fresh=True).as_env()
        platform = Platform(
            "rolling",
            urls,
            shape=Shape(workers=asked.workers),
            folder=stack.folder / "processes",
            settings={"STOCKYARD_API_WORKERS": str(asked.apis)},
        )
        platform.open(skus=SKUS, customers=asked.customers)
        try:
            found = _figures(platform, asked)
        finally:
            platform.fleet.stop()
    except (StackError, FleetError, ChildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()
    table = Table("", "", title="A rolling restart of every process under load")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:g}")
    Console().print(table)
    print(json.dumps(found))
    return 1 if found["failed"] or found["missing"] else 0


def _figures(platform: Platform, asked: argparse.Namespace) -> dict[str, float]:
    load = Load(platform.fleet.urls[0], platform.shop["tokens"])
    seconds = asyncio.run(load.run(lambda: rolling.replace_all(platform.fleet), before=asked.before))
    url, name = platform.mongo
    with books.store(url, name) as database:
        deadline = time.monotonic() + SETTLED_WITHIN
        while (placed := database["orders"].count_documents({"state": "reserved"})) < len(load.ids):
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
    return {
        "replaced_in_s": tidy(seconds),
        "orders": len(load.ids),
        "retried": load.retried,
        "failed": load.failed,
        "missing": len(load.ids) - placed,
        "before_p50_ms": tidy(percentile(load.taken["before"], 50)),
        "before_p99_ms": tidy(percentile(load.taken["before"], 99)),
        "during_p50_ms": tidy(percentile(load.taken["during"], 50)),
        "during_p99_ms": tidy(percentile(load.taken["during"], 99)),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.bench.rolling",
        description="What customers notice while every process is replaced.",
    )
    parser.add_argument("--apis", type=int, default=2, help="API workers on one socket (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="workers of orders (%(default)s)")
    parser.add_argument("--customers", type=int, default=16, help="who order at once (%(default)s)")
    parser.add_argument("--before", type=float, default=10.0, help="seconds before it (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
