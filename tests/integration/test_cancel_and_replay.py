"""Jobs that people end, or have run again: one winner of every race, and one effect (P2, P7)."""

import asyncio

import pytest

from domain.bootstrap import Services
from domain.errors import (
    JobFinished,
    JobNotReplayable,
    JobRunning,
    NotFound,
    TryAgain,
)
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.ledger import RELEASE, claimed, left_open, state_of, submitted


async def test_a_queued_job_can_be_cancelled_and_twice_is_as_once(services: Services):
    job_id = await submitted(services)
    for _ in range(2):
        job = await services.jobs.cancel(job_id, owner="ada", by="ada")
        assert (job["state"], len(job["history"])) == ("cancelled", 2)
    assert await services.runs.claim(job_id, kind=RELEASE.kind) is None
    with pytest.raises(NotFound):
        await services.jobs.cancel(job_id, owner="bob", by="bob")


async def test_a_running_job_and_a_finished_one_cannot_be_cancelled(services: Services):
    job = await claimed(services, await submitted(services))
    with pytest.raises(JobRunning):
        await services.jobs.cancel(job.id, owner="ada", by="ada")
    await services.runs.succeed(job, None)
    with pytest.raises(JobFinished):
        await services.jobs.cancel(job.id, owner="ada", by="ada")
    assert await state_of(services, job.id) == "succeeded"


async def test_a_dead_job_can_be_cancelled(services: Services, shop: Shop):
    job_id = await submitted(services)
    for _ in range(services.settings.jobs.max_attempts):
        await services.runs.retry(await claimed(services, job_id), RuntimeError("fault"))
    assert await state_of(services, job_id) == "dead"
    job = await services.jobs.cancel(job_id, owner=None, by="ops")
    assert (job["state"], job["error"]["code"]) == ("cancelled", "internal")


async def test_a_job_that_was_begun_and_waits_for_another_run_is_not_cancelled(services: Services):
    job_id = await submitted(services)
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    for owner in ("ada", None):
        with pytest.raises(JobRunning):
            await services.jobs.cancel(job_id, owner=owner, by="somebody")
    assert await state_of(services, job_id) == "queued"


async def test_a_dead_job_that_was_begun_is_cancelled_by_ops_alone(services: Services, clock: MovableClock):
    job_id = await submitted(services)
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    clock.move(hours=25)
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    assert await state_of(services, job_id) == "dead"
    with pytest.raises(JobRunning):
        await services.jobs.cancel(job_id, owner="ada", by="ada")
    assert (await services.jobs.cancel(job_id, owner=None, by="ops"))["state"] == "cancelled"


async def test_a_dead_job_keeps_its_payload_and_can_be_replayed_however_late(
    services: Services, clock: MovableClock
):
    job_id = await submitted(services)
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    clock.move(hours=25)
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    clock.move(hours=500)
    assert await services.relay.compact() == 0
    assert await left_open(services) == []
    assert (await services.jobs.replay(job_id, by="ops"))["state"] == "queued"
    # It is not given up at its first pause because it is old.
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    assert await state_of(services, job_id) == "queued"


async def test_a_cancel_that_races_a_claim_has_one_winner(services: Services):
    for _ in range(10):
        job_id = await submitted(services)
        claim, cancel = await asyncio.gather(
            services.runs.claim(job_id, kind=RELEASE.kind),
            services.jobs.cancel(job_id, owner="ada", by="ada"),
            return_exceptions=True,
        )
        if claim is None:
            assert await state_of(services, job_id) == "cancelled"
        else:
            assert isinstance(cancel, JobRunning)


async def test_a_dead_job_that_is_replayed_runs_again_and_has_one_effect(services: Services, shop: Shop):
    await shop.stock(A=5)
    job_id = (await shop.submit(A=2)).job_id
    for _ in range(services.settings.jobs.max_attempts):
        await services.runs.postpone(job_id, RuntimeError("fault"))
    assert (await shop.job(job_id))["state"] == "dead"
    job = await services.jobs.replay(job_id, by="ops")
    assert (job["state"], job["attempts"], job["error"]) == ("queued", 0, None)
    await services.drain()
    assert (await shop.work(job_id))["state"] == "succeeded"
    await shop.work(job_id)
    assert await shop.levels("A") == (3, 2)
    with pytest.raises(JobNotReplayable):
        await services.jobs.replay(job_id, by="ops")
    await shop.check_books()


@pytest.mark.parametrize("units", [0, 5])
async def test_a_rejected_order_that_is_replayed_is_decided_anew(services: Services, shop: Shop, units: int):
    await shop.stock(A=1)
    order = await shop.place(A=2)
    assert order["state"] == "rejected"
    if units:
        await shop.adjust("A", units)
    await services.jobs.replay(order["id"], by="ops")
    job = await shop.work(order["id"])
    again = await shop.order(order["id"])
    if units:
        assert (job["state"], again["state"], again["rejection"]) == ("succeeded", "reserved", None)
        assert await shop.levels("A") == (4, 2)
        assert (await shop.pay(order["id"]))["order_state"] == "paid"
    else:
        assert (job["state"], again["state"]) == ("failed", "rejected")
        assert again["rejection"]["code"] == "out_of_stock"
    assert await services.database["orders"].count_documents({}) == 1
    await shop.check_books()


async def test_a_cancelled_job_can_be_replayed(services: Services):
    job_id = await submitted(services)
    await services.jobs.cancel(job_id, owner="ada", by="ada")
    await services.drain()
    await services.jobs.replay(job_id, by="ops")
    told = await services.signals.look(job_id)
    assert told is not None
    assert told[1]["state"] == "queued"
    assert (await claimed(services, job_id)).attempts == 1


async def test_replaying_what_runs_or_is_unknown_is_refused(services: Services):
    job = await claimed(services, await submitted(services))
    with pytest.raises(JobNotReplayable):
        await services.jobs.replay(job.id, by="ops")
    with pytest.raises(NotFound):
        await services.jobs.replay("nothing", by="ops")
