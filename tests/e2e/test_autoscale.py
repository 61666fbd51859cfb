"""`stockyard autoscale`: a flood makes a pool grow, its end makes it shrink, and nobody is left behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo.database import Database

from ops.books import store
from tests.factories import eventually

ROOT = Path(__file__).parents[2]
#: Seconds of one job, as in `napping`.
NAP = 0.4
#: The target wait: so many times what a process takes to start here and now, and at least so many seconds.
TARGET, LEAST_TARGET = 2, 3.0
#: Seconds in which a flood is noticed: a report each half a second, and a look each 0.3 s.
NOTICED = 0.8
#: What one worker alone takes for the flood, in times that the oldest job may wait; several take so many
#: times longer to start side by side than one does.
FLOOD, SIDE_BY_SIDE = 1.4, 2.5


@pytest.fixture
def ledger(environment: dict[str, str]) -> Iterator[Database[dict[str, Any]]]:
    name = environment["STOCKYARD_MONGO_DATABASE"]
    with store(environment["STOCKYARD_MONGO_URL"], name) as database:
        yield database


@pytest.fixture
def target(environment: dict[str, str]) -> float:
    """The target wait, in seconds; two naps wait for the first worker, who shows by them what one does."""
    began = time.monotonic()
    run("flood", "2", env={**os.environ, **environment})
    return max(LEAST_TARGET, TARGET * (time.monotonic() - began))


@pytest.fixture
def scaler(
    environment: dict[str, str], target: float, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts one whose lines go to `changes.txt`."""
    started: list[subprocess.Popen[bytes]] = []
    own = {
        "STOCKYARD_WORKERS_THREADS": "1",
        "STOCKYARD_POOLS_TARGET_WAITS": json.dumps({"naps": f"{target * 1000:.0f}ms"}),
        "STOCKYARD_HEARTBEAT": "500ms",
    }

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.e2e.napping", "autoscale", "--json", *options]
        env = {**os.environ, **environment, **own}
        with (tmp_path / "changes.txt").open("wb") as out, (tmp_path / "log.txt").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=log))
        return started[-1]

    yield start
    for process in started:
        for each in children(process):
            each.kill()
        process.kill()
        process.wait(10)


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children() if process.poll() is None else []


def changes(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "changes.txt").read_text().splitlines()]


def run(what: str, *arguments: str, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.e2e.napping", what, *arguments]
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=60)


class Starts:
    """How long workers took from their start to their first job."""

    def __init__(self, process: subprocess.Popen[bytes], ledger: Database[dict[str, Any]]) -> None:
        self._process = process
        self._ledger = ledger
        self._born: dict[int, float] = {}

    def see(self) -> None:
        """Notes who is there."""
        for each in children(self._process):
            self._born.setdefault(each.pid, each.create_time())

    def longest(self) -> float:
        """Seconds; of those that had a job."""
        first: dict[int, float] = {}
        for job in self._ledger["jobs"].find({"state": "succeeded"}).sort("started_at", -1):
            (worker,) = {line["worker"] for line in job["history"] if line.get("worker")}
            first[int(worker.rpartition(":")[2])] = seconds(job["started_at"])
        return max(begun - self._born[pid] for pid, begun in first.items())


def seconds(at: datetime) -> float:
    """Since 1970; the store's times have no zone here."""
    return at.replace(tzinfo=UTC).timestamp()


async def test_a_flood_is_worked_off_within_the_target_wait_and_its_end_makes_the_pool_shrink(
    scaler: Callable[..., subprocess.Popen[bytes]],
    environment: dict[str, str],
    target: float,
    ledger: Database[dict[str, Any]],
    tmp_path: Path,
):
    process = scaler("--pool", "naps=1..4", "--every", "0.3", "--grow-pause", "0.5", "--shrink-after", "1")
    jobs, starts = ledger["jobs"], Starts(process, ledger)

    def ended(count: int) -> bool:
        starts.see()
        return jobs.count_documents({"state": "succeeded"}) == count

    await eventually(lambda: ended(2), within=60)
    flood = round(FLOOD * (target + NOTICED + SIDE_BY_SIDE * starts.longest()) / NAP)
    run("flood", str(flood), env={**os.environ, **environment})
    await eventually(lambda: ended(2 + flood), within=120)
    # The age bound: what was asked for, and what it took to see and to start whom it takes.
    bound = target + NOTICED + starts.longest()
    flooded = list(jobs.find().sort("created_at", 1).skip(2))
    waits = [seconds(job["started_at"]) - seconds(job["created_at"]) for job in flooded]
    assert max(waits) <= bound, (sorted(waits)[-3:], target, changes(tmp_path))
    # One worker alone would have missed it.
    assert flood * NAP > bound
    assert all(job["attempts"] == 1 for job in flooded)
    grown = max(each["after"] for each in changes(tmp_path))
    assert 1 < grown <= 4
    await eventually(lambda: len(children(process)) == 1, within=60)
    shrunk = [each for each in changes(tmp_path) if each["after"] < each["before"]]
    assert all(each["before"] - each["after"] == 1 for each in shrunk)
    # Nobody is left behind, although it has no chance to say goodbye.
    family = children(process)
    process.kill()
    process.wait(10)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
