"""`python -m ops.bench.fanout`: how long it takes to tell 10,000 accounts that a thing is back.

One event of the shop, real workers of the pool `notifications`, a stack of its own. It is over when every
account's own event was told on its channel. That each account was told once is checked. The last line is one
JSON object.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from domain.bootstrap import Services, open_services
from domain.changes import Changes
from domain.events.models import EVENTS, NewEvent
from domain.events.rules import SHOP
from domain.notifications.models import FAN_OUT_PARTS, SUBSCRIPTIONS
from domain.notifications.rules import TOPICS, watch_of
from domain.notifications.subscriptions import id_of
from domain.values import new_id
from ops.bench import watch
from ops.environment import settings_of
from ops.fleet import Fleet, FleetError
from ops.servers import StackError
from ops.stack import Stack

NAME = "bench-fanout"
TOPIC = "stock.back"
#: Documents of one insert.
PART = 1000
#: Seconds after which a round is given up.
PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one event took, in seconds from its recording."""

    stored: float
    told: float


async def measure(services: Services, sku: str, *, subscribers: int) -> Round:
    """One event to so many accounts, which wait for it and never had any."""
    channel = f"stockyard:events:{TOPICS[TOPIC]}"
    async with services.pubsub.subscribe(channel) as heard:
        began = time.perf_counter()
        event_id = await _happen(services, sku)
        listening = asyncio.create_task(_listen(heard, sku, subscribers))
        async with asyncio.timeout(PATIENCE):
            while await _told(services, event_id) < subscribers:  # noqa: ASYNC110 - other processes tell
                await asyncio.sleep(0.1)
            stored = time.perf_counter() - began
            told = await listening
    return Round(stored=stored, told=told - began)


async def _subscribe(services: Services, count: int) -> str:
    """A SKU that so many new accounts wait for."""
    sku = f"FAN-{new_id()}"
    now, accounts = services.clock(), [new_id() for _ in range(count)]
    rows = [
        {
            "_id": id_of(account, TOPIC, sku), "account_id": account, "topic": TOPIC, "subject": sku,
            "watch": watch_of(TOPIC, sku), "lasting": False, "since": now, "told_at": None, "delete_at": None,
        }
        for account in accounts
    ]  # fmt: skip
    for start in range(0, count, PART):
        await services.database[SUBSCRIPTIONS].insert_many(rows[start : start + PART], ordered=False)
    return sku


async def _happen(services: Services, sku: str) -> str:
    changes = Changes()
    data = {"sku": sku, "location": "main", "available": 40, "low_at": 5}
    cursors = await services.events.cursors([SHOP])
    event = NewEvent(SHOP, TOPIC, sku, data)
    recorded = services.events.record(changes, [event], cursors=cursors, at=services.clock())
    await changes.commit(services.database)
    services.events.publish(recorded)
    return str(recorded.events[0]["_id"])


async def _listen(heard: AsyncIterator[str], sku: str, count: int) -> float:
    """When the last of so many different accounts was told."""
    sources: set[str] = set()
    async for payload in heard:
        if not payload:
            raise RuntimeError("the listener was too slow, or lost its connection")
        event = json.loads(payload)
        if event["subject"] == sku:
            sources.add(event["source"])
        if len(sources) == count:
            break
    return time.perf_counter()


async def _told(services: Services, event_id: str) -> int:
    """Accounts whose event is stored, by the marks of the parts."""
    found, part = 0, 0
    parts = services.database[FAN_OUT_PARTS]
    while row := await parts.find_one({"_id": f"{event_id}:{part}"}, {"told": 1}):
        found, part = found + int(row["told"]), part + 1
    return found


async def _check(services: Services, sku: str, count: int) -> None:
    """Raises RuntimeError where an account was not told once."""
    rows = await services.database[EVENTS].find({"subject": sku, "type": TOPICS[TOPIC]}).to_list()
    accounts = {row["account_id"] for row in rows}
    if len(rows) != count or len(accounts) != count:
        raise RuntimeError(f"{len(rows)} events for {len(accounts)} of {count} accounts")


async def measure_all(stack: Stack, asked: argparse.Namespace) -> dict[str, object]:
    """The figures of all rounds."""
    environment, folder = stack.up().as_env(), stack.folder / "processes"
    with Fleet(environment, folder=folder, apis=0, pools={"notifications": asked.workers}) as fleet:
        async with open_services(settings_of(environment)) as services:
            workers = [worker.pid for worker in fleet.workers]
            groups = {"worker": workers, "store": [stack.mongo.pid] if stack.mongo.pid else []}
            skus = [await _subscribe(services, asked.subscribers) for _ in range(asked.rounds)]
            idle, before = watch.rss_mb(workers), watch.cpu_seconds(groups)
            rounds = [await measure(services, sku, subscribers=asked.subscribers) for sku in skus]
            used = watch.cpu_seconds(groups)
            busy = [_peak_mb(pid) for pid in workers]
            for sku in skus:
                await _check(services, sku, asked.subscribers)
    each = 1000 / (asked.subscribers * asked.rounds)
    return {
        "seconds_to_stored": _spread([each.stored for each in rounds]),
        "seconds_to_told": _spread([each.told for each in rounds]),
        "accounts_per_second": _spread([asked.subscribers / each.told for each in rounds]),
        "worker_idle_mb": max(idle),
        "worker_peak_mb": max(busy),
    } | {f"cpu_ms_{name}": round((used[name] - before[name]) * each, 2) for name in groups}


def _peak_mb(pid: int) -> float:
    """The most memory that the process ever had."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return max(watch.rss_mb([pid]), default=0.0)


def _spread(values: Sequence[float]) -> list[float]:
    """Median, lowest, highest."""
    found = sorted(values)
    return [round(each, 2) for each in (found[len(found) // 2], found[0], found[-1])]


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 after one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.fanout", description=__doc__.split("\n")[0])
    parser.add_argument("--subscribers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes of the pool (%(default)s)")
    asked = parser.parse_args(argv)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack(NAME, environ=own)
    try:
        stack.up(fresh=True)
        found = asyncio.run(measure_all(stack, asked))
    except (StackError, FleetError, RuntimeError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()
    print(f"one event to {asked.subscribers:,} accounts: median (lowest to highest) of {asked.rounds} rounds")
    for name, value in found.items():
        shown = f"{value[0]:,} ({value[1]:,} to {value[2]:,})" if isinstance(value, list) else f"{value:,}"
        print(f"  {name.replace('_', ' '):22} {shown}")
    print(json.dumps({"subscribers": asked.subscribers, **found, "machine": watch.machine()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
