"""The autoscaler's hold on its processes, with processes that do nothing; and how the command is used."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from pymongo.errors import AutoReconnect
from typer.testing import CliRunner

from domain.jobs.pool_reports import Backlog, PoolReport, Windows, report
from domain.jobs.pool_rules import Flow
from domain.lifeline import lifeline
from domain.settings import Settings
from ops.autoscale import Autoscaler, Change, Herd
from ops.cli.main import app
from ops.steering import Bounds, Steering
from tests.factories import eventually

#: Ends when it is told to. What follows the pool's name in its arguments is not for it.
OBEYS = ("sh", "-c", "exec sleep 60")
#: Does not.
STUBBORN = ("sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done")


class Pools:
    """Says what the test wants it to."""

    def __init__(self) -> None:
        self.recommended: int | None = 1
        self.workers = 0

    async def look_at(self, pool: str) -> PoolReport:
        if self.recommended is None:
            raise AutoReconnect("away")
        nothing = Flow(seconds=60)
        found = report(
            pool,
            Backlog(ready=9, in_ledger=0, oldest=0, workers=self.workers),
            Windows(nothing, nothing, nothing, nothing),
            target=Settings().pools.target_wait,
            largest_batch=1,
        )
        return replace(found, recommended=self.recommended)


@pytest.fixture
def reading() -> Iterator[int]:
    with lifeline() as reading:
        yield reading


def herd(reading: int, command: tuple[str, ...] = OBEYS) -> Herd:
    return Herd(Steering(Bounds("media", 1, 4)), command, reading, {})


async def test_those_that_are_told_to_stop_do_and_the_others_stay(reading: int):
    flock = herd(reading)
    flock.resize(3, now=0)
    pids = [each.pid for each in flock.running]
    flock.resize(1, now=1)
    await eventually(lambda: flock.bury(2) == 0 and not flock.leaving)
    assert [each.pid for each in flock.running] == pids[:1]
    flock.resize(0, now=2)
    await eventually(lambda: flock.bury(3) == 0 and not flock.leaving)


async def test_one_that_does_not_stop_in_its_time_is_killed(reading: int):
    flock = herd(reading, STUBBORN)
    flock.resize(1, now=0)
    await asyncio.sleep(0.2)
    flock.resize(0, now=0)
    flock.kill_late(now=5, patience=10)
    await asyncio.sleep(0.2)
    flock.bury(5)
    assert len(flock.leaving) == 1
    flock.kill_late(now=11, patience=10)
    await eventually(lambda: flock.bury(11) == 0 and not flock.leaving)


async def test_one_that_dies_is_started_again_after_a_pause_that_grows(reading: int):
    flock = herd(reading)
    now = 0.0
    for pause in (1, 2, 4):
        flock.resize(1, now)
        flock.running[0].kill()
        flock.running[0].wait(5)
        assert flock.bury(now) == 1
        flock.resize(1, now + pause - 0.1)
        assert flock.running == []
        now += pause
    flock.resize(1, now)
    # It lived for long: the next death is a first one.
    flock.running[0].kill()
    flock.running[0].wait(5)
    flock.bury(now + 31)
    assert flock.not_before == now + 31 + 1


async def test_one_that_cannot_be_started_is_said_and_tried_again_after_a_pause_that_grows(
    reading: int, monkeypatch: pytest.MonkeyPatch
):
    flock = herd(reading, ("/nowhere/python",))
    now = 0.0
    for pause in (1, 2, 4):
        flock.resize(2, now)
        assert "No such file" in (flock.fault or "")
        flock.resize(2, now + pause - 0.1)
        assert not flock.fault
        now += pause
    flock.command = OBEYS
    flock.resize(1, now)
    assert len(flock.running) == 1
    flock.resize(0, now)
    await eventually(lambda: flock.bury(now) == 0 and not flock.leaving)


async def test_it_goes_on_while_no_worker_can_be_started():
    stop, told = asyncio.Event(), list[Change]()
    scaler = Autoscaler(
        Pools(),  # type: ignore[arg-type]
        [Steering(Bounds("media", 1, 3))],
        every=0.02,
        stop_within=5,
        tell=told.append,
        command=("/nowhere/python",),
    )
    running = asyncio.create_task(scaler.run(stop))
    await eventually(lambda: bool(told))
    await asyncio.sleep(0.1)
    stop.set()
    await running
    assert [(each.after, each.why) for each in told] == [
        (0, "no worker can be started: No such file or directory")
    ]


async def test_it_follows_the_pool_and_ends_all_when_it_is_told_to():
    pools, stop = Pools(), asyncio.Event()
    told: list[Change] = []
    steering = Steering(Bounds("media", 1, 3), grow_pause=0, shrink_after=0.05)
    scaler = Autoscaler(
        pools,  # type: ignore[arg-type]
        [steering],
        every=0.02,
        stop_within=5,
        tell=told.append,
        command=OBEYS,
    )
    running = asyncio.create_task(scaler.run(stop))
    pools.recommended = 3
    await eventually(lambda: [each.after for each in told] == [1, 2, 3])
    assert {each.before for each in told} == {0, 1, 2}
    pools.recommended = None
    await asyncio.sleep(0.1)
    assert len(told) == 3
    pools.recommended = 0
    await eventually(lambda: told[-1].after == 1)
    began = time.monotonic()
    stop.set()
    await running
    assert time.monotonic() - began < 5
    assert [each for each in psutil.Process().children() if each.name() == "sleep"] == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["orders"], "does not name a pool and its bounds"),
        (["orders=3..1"], "not below the first"),
        (["dreams=1..2"], "there is no pool dreams"),
        (["orders=1..2", "orders=1..3"], "a pool is named twice"),
    ],
    ids=["no bounds", "turned", "unknown", "twice"],
)
def test_bounds_that_make_no_sense_are_wrong_usage(
    wanted: list[str], said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STOCKYARD_MONGO_URL", "mongodb://127.0.0.1:1/?replicaSet=none")
    options = [word for each in wanted for word in ("--pool", each)]
    done = CliRunner().invoke(app, ["autoscale", *options])
    assert done.exit_code == 2
    assert said in done.stderr
