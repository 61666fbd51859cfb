"""The autoscaler's hold on its processes, with processes that do nothing; and how the command is used."""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from pymongo.errors import AutoReconnect
from typer.testing import CliRunner

from domain.control.processes import Seen
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
        #: None while the store is away.
        self.recommended: int | None = 1
        self.paused = False

    async def look_at(self, pool: str) -> PoolReport:
        if self.recommended is None:
            raise AutoReconnect("away")
        nothing = Flow(seconds=60)
        found = report(
            pool,
            Backlog(ready=9, in_ledger=0, oldest=0, workers=0, paused=self.paused),
            Windows(nothing, nothing, nothing, nothing),
            target=Settings().pools.target_wait,
            largest_batch=1,
        )
        return replace(found, recommended=found.recommended if self.paused else self.recommended)


class Processes:
    """Workers of the pool, as they told of themselves."""

    def __init__(self) -> None:
        self.drained: set[int] = set()
        self.elsewhere = 0

    async def find(self) -> list[Seen]:
        worker = {"role": "worker", "pools": ["media"]}
        ours = worker | {"host": socket.gethostname(), "drain": {"by": "ops"}}
        other = worker | {"host": "elsewhere", "pid": 1, "drain": None}
        mine = [Seen(ours | {"pid": pid}, "drained") for pid in self.drained]
        return [*mine, *[Seen(other, "working")] * self.elsewhere]


def autoscaler(
    told: list[Change],
    *,
    pools: Pools | None = None,
    processes: Processes | None = None,
    most: int = 3,
    command: tuple[str, ...] = OBEYS,
) -> Autoscaler:
    return Autoscaler(
        pools or Pools(),  # type: ignore[arg-type]
        processes or Processes(),  # type: ignore[arg-type]
        [Steering(Bounds("media", 1, most), grow_pause=0, shrink_after=0.05)],
        every=0.02,
        stop_within=5,
        tell=told.append,
        command=command,
    )


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
    running = asyncio.create_task(autoscaler(told, command=("/nowhere/python",)).run(stop))
    await eventually(lambda: bool(told))
    await asyncio.sleep(0.1)
    stop.set()
    await running
    assert [(each.after, each.why) for each in told] == [
        (0, "no worker can be started: No such file or directory")
    ]


async def test_it_follows_the_pool_and_ends_all_when_it_is_told_to():
    pools, stop, told = Pools(), asyncio.Event(), list[Change]()
    running = asyncio.create_task(autoscaler(told, pools=pools).run(stop))
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
    assert children() == set()


async def test_a_paused_pool_is_not_grown_and_why_is_said_once():
    pools, stop, told = Pools(), asyncio.Event(), list[Change]()
    pools.paused, pools.recommended = True, 3
    running = asyncio.create_task(autoscaler(told, pools=pools).run(stop))
    await eventually(lambda: len(told) == 2)
    await asyncio.sleep(0.1)
    # The fewest are there all the same.
    assert len(children()) == 1
    held = "`media` is paused, with 9 jobs waiting: more workers would not help"
    assert [each.why for each in told].count(held) == 1
    assert len(told) == 2
    pools.paused = False
    await eventually(lambda: told[-1].after == 3)
    stop.set()
    await running


async def test_one_that_is_drained_leaves_its_place_to_another_and_is_not_stopped():
    processes, stop, told = Processes(), asyncio.Event(), list[Change]()
    running = asyncio.create_task(autoscaler(told, processes=processes, most=1).run(stop))
    await eventually(lambda: len(children()) == 1)
    first = children()
    processes.drained = set(first)
    await eventually(lambda: len(children()) == 2)
    await asyncio.sleep(0.1)
    assert first < children()
    # Undrained, it works again, and one is too many: the younger goes.
    processes.drained = set()
    await eventually(lambda: children() == first)
    processes.drained = set(first)
    await eventually(lambda: len(children()) == 2)
    stop.set()
    await running
    assert children() == set()


async def test_workers_elsewhere_that_take_jobs_are_counted_one_by_one():
    pools, processes, stop, told = Pools(), Processes(), asyncio.Event(), list[Change]()
    pools.recommended, processes.elsewhere = 4, 2
    running = asyncio.create_task(autoscaler(told, pools=pools, processes=processes).run(stop))
    await eventually(lambda: len(children()) == 2)
    await asyncio.sleep(0.1)
    assert [each.after for each in told] == [1, 2]
    stop.set()
    await running


def children() -> set[int]:
    """The workers that do nothing."""
    return {
        each.pid
        for each in psutil.Process().children()
        if each.name() == "sleep" and each.status() != psutil.STATUS_ZOMBIE
    }


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
