"""`stockyard autoscale`: a flood makes a pool grow, its end makes it shrink, and nobody is left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo.database import Database

from ops.books import store
from tests.factories import eventually

ROOT = Path(__file__).parents[2]
FLOOD = 30
#: Seconds of one job.
NAP = 0.4
#: Jobs that one worker has in hand.
THREADS = 1


@pytest.fixture
def own(environment: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        **environment,
        "STOCKYARD_WORKERS_THREADS": str(THREADS),
        "STOCKYARD_POOLS_TARGET_WAITS": '{"naps": "3s"}',
        "STOCKYARD_HEARTBEAT": "500ms",
    }


@pytest.fixture
def ledger(environment: dict[str, str]) -> Iterator[Database[dict[str, Any]]]:
    name = environment["STOCKYARD_MONGO_DATABASE"]
    with store(environment["STOCKYARD_MONGO_URL"], name) as database:
        yield database


@pytest.fixture
def scaler(own: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts one whose lines go to `changes.txt`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.e2e.napping", "autoscale", "--json", *options]
        with (tmp_path / "changes.txt").open("wb") as out, (tmp_path / "log.txt").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, env=own, stdout=out, stderr=log))
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


async def test_a_flood_makes_the_pool_grow_and_its_end_makes_it_shrink(
    scaler: Callable[..., subprocess.Popen[bytes]],
    own: dict[str, str],
    ledger: Database[dict[str, Any]],
    tmp_path: Path,
):
    process = scaler("--pool", "naps=1..3", "--every", "0.3", "--grow-pause", "0.5", "--shrink-after", "1")
    await eventually(lambda: len(children(process)) == 1, within=30)
    run("flood", str(FLOOD), env=own)
    jobs = ledger["jobs"]
    await eventually(lambda: jobs.count_documents({"state": "succeeded"}) == FLOOD, within=60)
    waits = [(job["finished_at"] - job["created_at"]).total_seconds() for job in jobs.find()]
    # One worker alone would have slept for longer than that.
    assert max(waits) < FLOOD * NAP / THREADS
    assert all(job["attempts"] == 1 for job in jobs.find())
    grown = max(each["after"] for each in changes(tmp_path))
    assert 1 < grown <= 3
    await eventually(lambda: len(children(process)) == 1, within=60)
    shrunk = [each for each in changes(tmp_path) if each["after"] < each["before"]]
    assert all(each["before"] - each["after"] == 1 for each in shrunk)
    # Nobody is left behind, although it has no chance to say goodbye.
    family = children(process)
    process.kill()
    process.wait(10)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
