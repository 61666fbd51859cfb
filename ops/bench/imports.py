"""`python -m ops.bench.imports`: rows per second of an import, of the same file again, and of an export.

The worker's part is done in this process, over a store of its own. The last line is one JSON object.
"""

import argparse
import asyncio
import csv
import io
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from domain.bootstrap import Services, open_services
from domain.changes import Doc
from domain.errors import TryAgain
from domain.jobs.models import Claimed
from domain.products.commands import ExportProducts, ImportProducts
from domain.settings import Settings
from domain.values import new_id
from ops.bench import watch
from ops.sample.northwind import Northwind
from ops.servers import StackError
from ops.stack import Stack

NAME = "bench-imports"
OWNER = "bench"
PART = 65_536


def file_of(rows: int) -> bytes:
    """A CSV file of Northwind's products under as many SKUs."""
    wares, text = Northwind().products, io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("sku", "name", "category", "price", "type", "status", "attribute:net_weight_g"))
    for number in range(rows):
        ware = wares[number % len(wares)]
        name = f"{ware.name} {number}"
        writer.writerow(
            (f"IMP-{number:06}", name, ware.category, max(ware.price, 1), "grocery", "published", 500)
        )
    return text.getvalue().encode()


async def measure(rows: int) -> dict[str, float]:
    """Rows per second by what was done."""
    file = file_of(rows)
    async with open_services(Settings()) as services:
        first, made = await _imported(services, file)
        again, same = await _imported(services, file)
        if (made["created"], same["unchanged"]) != (rows, rows):
            raise RuntimeError(f"of {rows} rows {made} were taken, then {same}")
        out = await _exported(services)
    return {"new": rows / first, "unchanged": rows / again, "exported": rows / out}


async def _imported(services: Services, file: bytes) -> tuple[float, Doc]:
    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(file), PART):
            yield file[start : start + PART]

    began = time.perf_counter()
    accepted = await services.imports.accept(body(), form="csv", owner=OWNER, key=new_id(), request_id=None)
    job = await _claim(services, accepted.job_id, ImportProducts.kind)
    while True:
        with suppress(TryAgain):
            counts = await services.imports.run(ImportProducts.model_validate(job.payload), job)
            return time.perf_counter() - began, counts


async def _exported(services: Services) -> float:
    began = time.perf_counter()
    accepted = await services.jobs.submit(ExportProducts(), owner=OWNER, key=new_id())
    job = await _claim(services, accepted.job_id, ExportProducts.kind)
    await services.exports.run(ExportProducts.model_validate(job.payload), job)
    return time.perf_counter() - began


async def _claim(services: Services, job_id: str, kind: str) -> Claimed:
    job = await services.runs.claim(job_id, kind=kind)
    if job is None:
        raise RuntimeError(f"the job {job_id} was taken")
    return job


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 after one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.imports", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(argv)
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack, rounds = Stack(NAME, environ=own), []
    try:
        os.environ.update(stack.up(fresh=True).as_env())
        for number in range(asked.rounds):
            os.environ["STOCKYARD_MONGO_DATABASE"] = f"imports-{number}"
            rounds.append(asyncio.run(measure(asked.rows)))
    except StackError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        stack.down()
    print(f"rows per second, of {asked.rows:,}: median (lowest to highest) of {asked.rounds}")
    told = {}
    for name in ("new", "unchanged", "exported"):
        found = sorted(each[name] for each in rounds)
        told[name] = [round(each) for each in (found[len(found) // 2], found[0], found[-1])]
        print(f"  {name:10} {told[name][0]:7,} ({told[name][1]:,} to {told[name][2]:,})")
    print(json.dumps({"rows": asked.rows, "rows_per_second": told, "machine": watch.machine()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
