"""`python -m ops.bench.listeners`: what idle listeners cost one API process, and how soon all are told.

Opens server-sent event streams to an API of its own, looks at its memory before and after, then stores one
event for each account at once and takes the time until each stream has it. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from domain.bootstrap import Services, open_services
from domain.changes import Changes
from domain.events.models import NewEvent
from domain.settings import Settings
from domain.values import new_id
from ops.bench import watch
from ops.bench.figures import percentile, tidy
from ops.bench.platforms import Platform, Shape
from ops.fleet import FleetError
from ops.servers import StackError
from ops.stack import Stack

NAME = "bench-listeners"
#: Accounts that the streams are spread over.
ACCOUNTS = 10
PASSWORD = "correct horse battery staple"  # noqa: S105 - of accounts that live as long as the bench
#: Streams that are opened at the same time.
AT_ONCE = 20
#: How often one that is refused is opened again.
TRIES = 10
#: Seconds of silence before the memory is looked at: each stream has sent a heartbeat by then.
QUIET = 20.0
#: What a thousand streams may take, in MB.
TARGET = 100.0


@dataclass(slots=True)
class Stream:
    """One open stream; `told` has when each event came, by its id."""

    account_id: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: dict[str, float] = field(default_factory=dict)

    async def listen(self) -> None:
        """Until it is closed."""
        async for line in self.reader:
            if line.startswith(b"data: ") and b'"specversion"' in line:
                self.told[json.loads(line[6:])["id"]] = time.perf_counter()


async def open_stream(url: str, account_id: str, token: str, gate: asyncio.Semaphore) -> Stream:
    """A stream that has begun. Raises FleetError where it is refused again and again."""
    async with gate:
        for _ in range(TRIES):
            with suppress(asyncio.IncompleteReadError):
                return await _try(url, account_id, token)
            # Too much to do: what an API answers then is `503`.
            await asyncio.sleep(1)
    raise FleetError("a stream was refused again and again")


async def _try(url: str, account_id: str, token: str) -> Stream:
    """Raises IncompleteReadError where the answer is no stream."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    more = f"Host: {where.netloc}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    writer.write(f"GET /v1/stream HTTP/1.1\r\n{more}".encode())
    await reader.readuntil(b"retry: 1000\n\n")
    return Stream(account_id, reader, writer)


async def accounts(services: Services) -> dict[str, str]:
    """Ids with tokens."""
    found = {}
    for number in range(ACCOUNTS):
        email = f"listener{number}@example.com"
        account = await services.accounts.create_ops(email, PASSWORD)
        found[str(account.id)] = (await services.accounts.log_in(email, PASSWORD)).token
    return found


async def happen(services: Services, account_ids: Sequence[str]) -> tuple[float, dict[str, str]]:
    """One event for each account, in one transaction: when it was stored, and the events' ids by account."""
    changes, events = Changes(), services.events
    new = [
        NewEvent(each, "order.expired", new_id(), {"order_id": new_id(), "state": "expired"})
        for each in account_ids
    ]
    cursors = await events.cursors(account_ids)
    recorded = events.record(changes, new, cursors=cursors, at=services.clock())
    await changes.commit(services.database)
    stored = time.perf_counter()
    events.publish(recorded)
    return stored, {event["account_id"]: event["_id"] for event in recorded.events}


async def delays(services: Services, streams: Sequence[Stream], *, seconds: float = 30.0) -> list[float]:
    """Milliseconds from one event's commit until each stream has it. Raises TimeoutError."""
    stored, ids = await happen(services, sorted({stream.account_id for stream in streams}))
    async with asyncio.timeout(seconds):
        while any(ids[stream.account_id] not in stream.told for stream in streams):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return [(stream.told[ids[stream.account_id]] - stored) * 1000 for stream in streams]


async def measure(platform: Platform, *, clients: int, events: int) -> dict[str, object]:
    """Opens, waits, tells and closes; the figures."""
    pids = [each.pid for each in platform.fleet.apis]
    async with open_services(Settings()) as services:
        tokens, gate = await accounts(services), asyncio.Semaphore(AT_ONCE)
        who = sorted(tokens.items())
        url = platform.fleet.urls[0]
        first = await open_stream(url, *who[0], gate)
        (before,) = watch.rss_mb(pids)
        streams = [first, *await _open(url, [who[n % len(who)] for n in range(1, clients)], gate)]
        listening = [asyncio.create_task(stream.listen()) for stream in streams]
        (opened,) = watch.rss_mb(pids)
        await asyncio.sleep(QUIET)
        (idle,) = watch.rss_mb(pids)
        used = watch.cpu_seconds({"api": pids})["api"]
        took = [delay for _ in range(events) for delay in await delays(services, streams)]
        used = watch.cpu_seconds({"api": pids})["api"] - used
        (told,) = watch.rss_mb(pids)
        for stream in streams:
            stream.writer.close()
        with suppress(OSError):
            await asyncio.gather(*listening)
    return {
        "clients": clients,
        "events": events,
        "memory_mb": {"before": before, "opened": opened, "idle": idle, "told": told},
        "more_mb": tidy(max(opened, idle, told) - before),
        "delay_ms": {
            "p50": tidy(percentile(took, 50)),
            "p99": tidy(percentile(took, 99)),
            "longest": tidy(max(took)),
        },
        "api_cpu_ms": tidy(used / events * 1000),
        "target_mb": TARGET * clients / 1000,
        "machine": watch.machine(),
    }


async def _open(url: str, who: Sequence[tuple[str, str]], gate: asyncio.Semaphore) -> list[Stream]:
    return list(await asyncio.gather(*(open_stream(url, *each, gate) for each in who)))


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 after one line on standard error, or where the streams took more memory than the target."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.listeners", description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=1000, help="streams that are open (%(default)s)")
    parser.add_argument("--events", type=int, default=20, help="events that all are told of (%(default)s)")
    asked = parser.parse_args(argv)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack(NAME, environ=own)
    try:
        urls = stack.up(fresh=True).as_env()
        shape = Shape(workers=0, schedulers=0)
        platform = Platform("listeners", urls, shape=shape, folder=stack.folder / "processes")
        os.environ.update(platform.environment)
        with platform.fleet:
            outcome = asyncio.run(measure(platform, clients=asked.clients, events=asked.events))
    except (StackError, FleetError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except TimeoutError:
        print("bench: not every stream was told in time", file=sys.stderr)
        return 1
    finally:
        stack.down()
    memory, delay = outcome["memory_mb"], outcome["delay_ms"]
    used = {"CPU": outcome["api_cpu_ms"]}
    print(
        f"{asked.clients:,} streams on one API process; memory in MB, then milliseconds until all were told"
    )
    print(*(f"  {name:10}{value:10.1f}" for name, value in (memory | delay | used).items()), sep="\n")  # type: ignore[operator]
    print(json.dumps(outcome))
    return 1 if outcome["more_mb"] > outcome["target_mb"] else 0  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
