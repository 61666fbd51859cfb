"""A job that is dead is told of, in the transaction that makes it so: to the shop and to its owner."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.errors import TryAgain
from domain.events.rules import SHOP
from domain.inventory.commands import Release
from domain.jobs.rules import SYSTEM
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeLocks
from tests.transactions import LABELS, commit_whose_answer_is_lost, just_before_the_commit

RELEASE = Release(reservation_id="r")


async def submitted(services: Services, owner: str = "ada") -> str:
    return (await services.jobs.submit(RELEASE, owner=owner, key=new_id())).job_id


async def fail(services: Services, job_id: str) -> bool:
    """One run that fails."""
    job = await services.runs.claim(job_id, kind=RELEASE.kind)
    assert job is not None
    return await services.runs.retry(job, RuntimeError("a secret"))


async def about_to_die(services: Services, owner: str = "ada") -> str:
    """A job whose next failure is its last."""
    job_id = await submitted(services, owner)
    for _ in range(services.settings.jobs.max_attempts - 1):
        assert await fail(services, job_id)
    return job_id


async def deaths(services: Services, whose: str) -> list[dict[str, Any]]:
    """What is told of dead jobs."""
    events = await services.events.after(whose, 0, limit=1000)
    return [event["data"] for event in events if event["type"] == "job.dead"]


async def test_a_job_that_fails_for_the_last_time_is_told_of_once_without_its_fault(services: Services):
    job_id = await about_to_die(services)
    assert await deaths(services, "ada") == []
    assert await fail(services, job_id)
    expected = {
        "job_id": job_id, "kind": "inventory.release", "owner": "ada", "subject": job_id, "attempts": 5,
        "code": "internal", "message": "The platform failed at this.",
    }  # fmt: skip
    assert await deaths(services, "ada") == await deaths(services, SHOP) == [expected]
    assert (await services.jobs.get(job_id, owner=None))["state"] == "dead"


async def test_a_batched_job_that_is_given_up_is_told_of(services: Services, shop: Shop):
    await shop.stock(A=1)
    job_id = (await shop.submit(A=1)).job_id
    for _ in range(services.settings.jobs.max_attempts):
        await services.runs.postpone(job_id, RuntimeError("fault"))
    (told,) = await deaths(services, "ada")
    assert (told["job_id"], told["kind"], told["attempts"]) == (job_id, "orders.place", 5)
    await services.runs.postpone(job_id, RuntimeError("a message that came twice"))
    assert len(await deaths(services, SHOP)) == 1


async def test_a_job_whose_worker_fell_silent_for_the_last_time_is_told_of(
    services: Services, clock: MovableClock
):
    job_id = await submitted(services)
    for _ in range(services.settings.jobs.max_attempts):
        assert await services.runs.claim(job_id, kind=RELEASE.kind)
        clock.move(seconds=3.1)
        assert await services.relay.take_back() == 1
    (told,) = await deaths(services, SHOP)
    assert (told["job_id"], told["code"]) == (job_id, "worker_lost")


async def test_a_job_of_the_platforms_own_is_told_of_to_the_shop_alone(services: Services):
    assert await fail(services, await about_to_die(services, SYSTEM))
    assert len(await deaths(services, SHOP)) == 1
    assert await deaths(services, SYSTEM) == []


async def test_a_job_that_is_asked_again_for_too_long_is_told_of(services: Services, clock: MovableClock):
    job_id = await submitted(services)
    for hours in (0, 25):
        clock.move(hours=hours)
        job = await services.runs.claim(job_id, kind=RELEASE.kind)
        assert job is not None
        await services.runs.retry(job, TryAgain("busy"), seconds=0.01)
    assert [told["job_id"] for told in await deaths(services, "ada")] == [job_id]


async def test_one_that_was_taken_back_meanwhile_is_neither_dead_nor_told_of(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    lost, mine = [await about_to_die(services) for _ in range(2)]
    update = {"$set": {"attempt_id": "another"}}
    taken = services.database["jobs"].update_one
    just_before_the_commit(monkeypatch, lambda: taken({"_id": lost}, update))
    claimed = [await services.runs.claim(each, kind=RELEASE.kind) for each in (lost, mine)]
    answers = await asyncio.gather(
        *(services.runs.retry(job, RuntimeError("fault")) for job in claimed if job is not None)
    )
    assert answers == [False, True]
    assert [told["job_id"] for told in await deaths(services, SHOP)] == [mine]


@LABELS
async def test_one_of_which_the_commits_answer_was_lost_is_told_of_once(services: Services, label: str):
    job_id = await about_to_die(services)
    job = await services.runs.claim(job_id, kind=RELEASE.kind)
    assert job is not None
    with commit_whose_answer_is_lost(label):
        assert await services.runs.retry(job, RuntimeError("fault"))
    assert [told["job_id"] for told in await deaths(services, SHOP)] == [job_id]


async def test_many_that_die_at_once_in_two_processes_are_each_told_of_once(
    services: Services, rewire: Callable[..., Services]
):
    both = [services, rewire(locks=FakeLocks())]
    jobs = [await about_to_die(services, f"buyer{n % 3}") for n in range(8)]
    assert all(await asyncio.gather(*(fail(both[n % 2], job_id) for n, job_id in enumerate(jobs))))
    assert sorted(told["job_id"] for told in await deaths(services, SHOP)) == sorted(jobs)
    events = await services.events.after(SHOP, 0, limit=100)
    assert [event["seq"] for event in events] == list(range(1, 9))
