"""The timetable, and a scheduler that leads or follows, without I/O."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, cast
from unittest.mock import MagicMock

import pytest

from domain.bootstrap import Services
from domain.settings import Settings
from domain.values import utcnow
from scheduler.leader import Leader
from scheduler.main import SOON, schedule_of
from scheduler.runs import Runs
from scheduler.schedule import Entry, timetable
from tests.factories import eventually
from tests.fakes import FakeLeadership

MOMENT = timedelta(milliseconds=5)


class Verb:
    """Counts its calls; fails when told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return 0


def leading(*, leads: bool) -> Leader:
    leader = Leader(FakeLeadership([]), every=MOMENT)
    leader.leads = leads
    return leader


def test_the_timetable_keeps_every_promise_that_time_has_to_keep():
    services = cast("Any", MagicMock(spec=Services))
    services.settings = Settings()
    entries = timetable(services)
    every = {entry.name: entry.every for entry in entries}
    assert len(every) == len(entries)
    assert set(every) >= {
        "expire holds", "send due jobs", "send lost jobs", "take back jobs of silent workers",
        "republish events", "delete old times of events", "compact ended jobs", "audit the stock",
    }  # fmt: skip
    # An expired hold is released within 2 s of its time, the worker's part included.
    assert every["expire holds"] <= timedelta(seconds=1)


def test_what_runs_once_an_hour_runs_soon_after_a_start_too():
    entries = [Entry(f"every {hours} h", timedelta(hours=hours), Verb()) for hours in (1, 24)]
    jobs = schedule_of(entries, Runs(leading(leads=True))).get_jobs()
    assert [job.next_run_time <= utcnow() + SOON for job in jobs] == [True, True]
    assert [job.trigger.interval for job in jobs] == [entry.every for entry in entries]


async def test_an_entry_runs_only_where_its_process_leads():
    verb = Verb()
    entry = Entry("count", MOMENT, verb)
    await Runs(leading(leads=False)).run(entry)
    assert verb.calls == 0
    await Runs(leading(leads=True)).run(entry)
    assert verb.calls == 1


async def test_an_entry_that_fails_is_tried_again_in_the_next_round():
    verb = Verb()
    entry = Entry("count", MOMENT, verb)
    verb.error = ConnectionError("away")
    await Runs(leading(leads=True)).run(entry)
    await Runs(leading(leads=True)).run(entry)
    assert verb.calls == 2


async def test_an_entry_that_hangs_is_a_problem_and_one_that_runs_is_none():
    hung = asyncio.Event()

    async def hang() -> int:
        await hung.wait()
        return 0

    runs = Runs(leading(leads=True))
    await runs.run(Entry("quick", MOMENT, Verb()))
    assert runs.problems(silence=timedelta(seconds=5)) == []
    task = asyncio.create_task(runs.run(Entry("hangs", MOMENT, hang)))
    await eventually(lambda: any("hangs" in each for each in runs.problems(silence=timedelta())))
    hung.set()
    await task
    assert runs.problems(silence=timedelta(seconds=5)) == []


async def test_of_two_schedulers_one_leads_and_the_other_follows_once_it_resigns():
    seat: list[FakeLeadership] = []
    first, second = (Leader(FakeLeadership(seat), every=MOMENT) for _ in range(2))
    async with AsyncExitStack() as later:
        async with first.standing():
            await later.enter_async_context(second.standing())
            assert (first.leads, second.leads) == (True, False)
        await eventually(lambda: second.leads)


async def test_without_redis_both_lead_for_the_timetable_may_run_twice():
    seat: list[FakeLeadership] = []
    seats = [FakeLeadership(seat) for _ in range(2)]
    for each in seats:
        each.away = True
    leaders = [Leader(each, every=MOMENT) for each in seats]
    async with leaders[0].standing(), leaders[1].standing():
        assert [leader.leads for leader in leaders] == [True, True]


@pytest.mark.parametrize("leads", [True, False])
async def test_only_a_leader_resigns(*, leads: bool):
    seat: list[FakeLeadership] = []
    other = FakeLeadership(seat)
    if not leads:
        assert await other.lead()
    async with Leader(FakeLeadership(seat), every=MOMENT).standing():
        pass
    assert seat == ([] if leads else [other])
