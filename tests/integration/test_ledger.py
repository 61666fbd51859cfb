"""The job ledger: accepted once, claimed once, ended once, and nothing vanishes (P1, P2, P7)."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError
from pymongo.errors import AutoReconnect

from domain.bootstrap import Services
from domain.errors import (
    Conflict,
    IdempotencyKeyReused,
    NotFound,
    OutOfStock,
    TryAgain,
)
from domain.inventory.commands import Item, Release, Reserve
from domain.jobs import claims, relay
from domain.jobs.models import Claimed
from domain.jobs.service import JobQuery
from domain.settings import Jobs as JobSettings
from tests.conftest import MovableClock
from tests.factories import Shop, eventually
from tests.ledger import RELEASE, claimed, left_open, state_of, submitted
from workers.handles import run_job
from workers.kinds import HANDLED

# -- accepting --


async def test_one_key_fifty_times_at_once_is_one_job(services: Services):
    answers = await asyncio.gather(*(services.jobs.submit(RELEASE, owner="ada", key="k") for _ in range(50)))
    assert len({answer.job_id for answer in answers}) == 1
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 49}
    assert await services.database["jobs"].count_documents({}) == 1


async def test_one_key_from_two_processes_at_once_is_one_job(services: Services, rewire):
    both = [services, rewire()]
    answers = await asyncio.gather(
        *(each.jobs.submit(RELEASE, owner="ada", key=f"k{n}") for n in range(10) for each in both)
    )
    assert Counter(answer.replayed for answer in answers) == {False: 10, True: 10}
    assert await services.database["jobs"].count_documents({}) == 10


async def test_a_used_key_with_another_body_is_refused(services: Services):
    first = await submitted(services, key="k")
    with pytest.raises(IdempotencyKeyReused):
        await services.jobs.submit(Release(reservation_id="another"), owner="ada", key="k")
    assert await services.database["jobs"].count_documents({}) == 1
    assert (await services.jobs.submit(RELEASE, owner="ada", key="k")).job_id == first


async def test_of_two_bodies_under_one_key_at_once_one_is_accepted(services: Services):
    commands = [Release(reservation_id=str(n)) for n in range(10)]
    answers = await asyncio.gather(
        *(services.jobs.submit(command, owner="ada", key="k") for command in commands), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, IdempotencyKeyReused)]
    assert len(refused) == 9
    assert await services.database["jobs"].count_documents({}) == 1


async def test_a_key_is_of_its_owner_and_kind(services: Services):
    reserve = Reserve(items=(Item(sku="A", quantity=1),))
    answers = [
        await services.jobs.submit(RELEASE, owner="ada", key="k"),
        await services.jobs.submit(RELEASE, owner="bob", key="k"),
        await services.jobs.submit(reserve, owner="ada", key="k"),
    ]
    assert [answer.replayed for answer in answers] == [False] * 3


async def test_of_many_that_are_accepted_at_once_not_all_wait_for_the_same_write(services: Services):
    names = [f"stockyard_batch_size_{name}" for name in ("count", "sum")]

    def told() -> list[float]:
        return [REGISTRY.get_sample_value(name, {"batch": "ledger"}) or 0 for name in names]

    before = told()
    await asyncio.gather(*(submitted(services) for _ in range(32)))
    assert [now - then for now, then in zip(told(), before, strict=True)] == [2, 32]


async def test_a_job_is_shown_to_its_owner_and_to_ops(services: Services):
    job_id = await submitted(services, owner="ada")
    assert (await services.jobs.get(job_id, owner="ada"))["_id"] == job_id
    with pytest.raises(NotFound):
        await services.jobs.get(job_id, owner="bob")
    with pytest.raises(NotFound):
        await services.jobs.get("nothing", owner=None)


async def test_jobs_are_found_by_owner_state_kind_and_age_newest_first(
    services: Services, clock: MovableClock
):
    first, _, other, cancelled = [
        await submitted(services, owner=owner) for owner in ("ada", "bob", "ada", "ada")
    ]
    await services.jobs.cancel(cancelled, owner="ada", by="ada")

    async def found(**query: object) -> list[str]:
        return [job["_id"] for job in await services.jobs.find(JobQuery("ada", **query))]  # type: ignore[arg-type]

    assert await found() == [cancelled, other, first]
    assert await found(limit=2) == [cancelled, other]
    assert await found(before=other) == [first]
    assert await found(state="cancelled") == [cancelled]
    assert await found(kind="orders.place") == []
    assert await found(older_than=clock() - timedelta(minutes=1)) == []
    assert await found(older_than=clock() + timedelta(minutes=1), state="queued") == [other, first]


# -- claiming --


async def test_a_job_is_claimed_once_however_many_try(services: Services, rewire):
    ids = [await submitted(services) for _ in range(5)]
    both = [services, rewire()]
    answers = await asyncio.gather(
        *(each.runs.claim(job_id, kind=RELEASE.kind) for _ in range(10) for job_id in ids for each in both)
    )
    assert Counter(job.id for job in answers if job is not None) == dict.fromkeys(ids, 1)


async def test_a_claim_whose_answer_never_came_is_let_go_and_counts_as_no_run(
    services: Services, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    job_id = await submitted(services)
    taken = claims.Claims._taken

    async def lost(*_: object) -> dict[str, Claimed]:
        # The claim is written. The store is away for longer than a claim waits, and is asked once more then.
        clock.move(seconds=services.settings.jobs.lease.total_seconds() / 2)
        monkeypatch.setattr(claims.Claims, "_taken", lost_again)
        raise AutoReconnect

    async def lost_again(*_: object) -> dict[str, Claimed]:
        monkeypatch.setattr(claims.Claims, "_taken", taken)
        raise AutoReconnect

    monkeypatch.setattr(claims.Claims, "_taken", lost)
    monkeypatch.setattr(claims, "ASK_AGAIN", 0.05)
    with pytest.raises(AutoReconnect):
        await services.runs.claim(job_id, kind=RELEASE.kind)
    assert await state_of(services, job_id) == "running"

    async def let_go() -> bool:
        return await state_of(services, job_id) == "queued"

    await eventually(let_go)
    clock.move(seconds=1)
    assert (await claimed(services, job_id)).attempts == 1


async def test_a_stop_leaves_claims_to_the_relay_that_cannot_be_let_go(
    services: Services, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    job_id = await submitted(services)

    async def lost(*_: object) -> dict[str, Claimed]:
        clock.move(seconds=services.settings.jobs.lease.total_seconds() / 2)
        raise AutoReconnect

    monkeypatch.setattr(claims.Claims, "_taken", lost)
    with pytest.raises(AutoReconnect):
        await services.runs.claim(job_id, kind=RELEASE.kind)
    async with asyncio.timeout(claims.ASK_AGAIN * 0.9):
        await services.runs.drain()
    assert await state_of(services, job_id) == "running"
    monkeypatch.undo()
    clock.move(seconds=services.settings.jobs.lease.total_seconds() + 1)
    assert await services.relay.take_back() == 1
    assert await state_of(services, job_id) == "queued"


async def test_what_ended_is_not_claimed_again(services: Services):
    job = await claimed(services, await submitted(services))
    assert await services.runs.succeed(job, {"done": True})
    assert await services.runs.claim(job.id, kind=RELEASE.kind) is None
    assert await services.runs.claim("nothing", kind=RELEASE.kind) is None


async def test_a_job_shows_how_far_it_is_and_how_it_ended(services: Services):
    job = await claimed(services, await submitted(services))
    await services.runs.progress(job, done=3, of=5)
    assert (await services.jobs.get(job.id, owner=None))["progress"] == {"done": 3, "of": 5}
    await services.runs.fail(job, OutOfStock(lines=[]))
    ended = await services.jobs.get(job.id, owner=None)
    assert (ended["state"], ended["attempts"], ended["error"]["code"]) == ("failed", 1, "out_of_stock")
    assert [each["state"] for each in ended["history"]] == ["queued", "running", "failed"]


async def test_the_lease_is_kept_while_the_job_runs(services: Services, clock: MovableClock):
    job = await claimed(services, await submitted(services))
    first = (await services.jobs.get(job.id, owner=None))["lease_until"]

    async def renewed() -> bool:
        return bool((await services.jobs.get(job.id, owner=None))["lease_until"] > first)

    async with services.runs.keeping(job):
        await eventually(renewed)


# -- ending in spite of faults --


async def test_a_silent_workers_job_is_taken_back_after_its_lease_and_not_before(
    services: Services, clock: MovableClock
):
    job = await claimed(services, await submitted(services))
    assert await services.relay.take_back() == 0
    clock.move(seconds=3.1)
    assert await services.relay.take_back() == 1
    assert await services.relay.take_back() == 0
    again = await claimed(services, job.id)
    assert (again.attempts, again.attempt_id != job.attempt_id) == (2, True)


@pytest.mark.parametrize("since", ["queued", "running", "succeeded"])
async def test_the_late_outcome_of_an_attempt_that_lost_its_lease_is_ignored(
    services: Services, clock: MovableClock, since: str
):
    job = await claimed(services, await submitted(services))
    clock.move(seconds=3.1)
    await services.relay.take_back()
    if since != "queued":
        again = await claimed(services, job.id)
        if since == "succeeded":
            assert await services.runs.succeed(again, {"by": "second"})
    before = await services.jobs.get(job.id, owner=None)
    assert not await services.runs.succeed(job, {"by": "first"})
    assert not await services.runs.fail(job, OutOfStock())
    assert not await services.runs.retry(job, RuntimeError("late"))
    await services.drain()
    stored = await services.jobs.get(job.id, owner=None)
    assert stored == before
    assert stored["state"] == since
    # Nobody is told of an end that was none.
    cached = await services.signals._cache.get(f"stockyard:job:{job.id}")
    assert (cached is not None) == (since == "succeeded")


async def test_a_worker_that_falls_silent_every_time_leaves_a_dead_job(
    services: Services, clock: MovableClock
):
    job_id = await submitted(services)
    for _ in range(services.settings.jobs.max_attempts):
        await claimed(services, job_id)
        clock.move(seconds=3.1)
        await services.relay.take_back()
    job = await services.jobs.get(job_id, owner=None)
    assert (job["state"], job["error"]["code"], job["attempts"]) == ("dead", "worker_lost", 5)
    assert job["finished_at"] is not None


async def test_a_job_that_fails_is_run_again_after_growing_pauses_and_ends_dead_with_its_error(
    services: Services, clock: MovableClock
):
    job_id = await submitted(services)
    pauses = []
    for n in range(1, 6):
        job = await claimed(services, job_id)
        assert job.attempts == n
        at = clock()
        assert await services.runs.retry(job, RuntimeError(f"fault {n}"))
        stored = await services.jobs.get(job_id, owner=None)
        pauses.append((stored["not_before"] - at).total_seconds())
    assert (stored["state"], stored["attempts"]) == ("dead", 5)
    assert stored["error"]["fault"] == "RuntimeError: fault 5"
    assert [each["state"] for each in stored["history"]] == [
        "queued",
        *["running", "queued"] * 4,
        "running",
        "dead",
    ]
    for n, pause in enumerate(pauses[:4]):
        assert 0.05 * 2**n - 0.01 <= pause <= 0.1 * 2**n + 0.5
    dead = await services.jobs.find(JobQuery("ada", state="dead"))
    assert [job["_id"] for job in dead] == [job_id]


async def test_a_verb_that_asks_to_be_run_again_does_not_use_up_its_attempts(
    services: Services, clock: MovableClock
):
    job_id = await submitted(services)
    for _ in range(services.settings.jobs.max_attempts + 2):
        job = await claimed(services, job_id)
        assert job.attempts == 1
        await services.runs.retry(job, TryAgain("busy"), seconds=7)
    stored = await services.jobs.get(job_id, owner=None)
    assert (stored["state"], stored["attempts"]) == ("queued", 0)
    assert timedelta(seconds=6) < stored["not_before"] - clock() <= timedelta(seconds=7)


async def test_a_verb_that_asks_for_ever_is_given_up(services: Services, clock: MovableClock):
    job_id = await submitted(services)
    # However long it waited for a worker, the time that counts begins with its first run.
    clock.move(hours=48)
    for hours in (0, 23):
        clock.move(hours=hours)
        await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
        assert await state_of(services, job_id) == "queued"
    clock.move(hours=1, seconds=1)
    await services.runs.retry(await claimed(services, job_id), TryAgain("busy"), seconds=1)
    stored = await services.jobs.get(job_id, owner=None)
    assert (stored["state"], "busy" in stored["error"]["fault"]) == ("dead", True)


async def test_a_batched_job_that_fails_is_postponed_and_ends_dead(services: Services, shop: Shop):
    await shop.stock(A=1)
    job_id = (await shop.submit(A=1)).job_id
    for n in range(1, 5):
        await services.runs.postpone(job_id, RuntimeError("fault"))
        job = await shop.job(job_id)
        assert (job["state"], job["attempts"]) == ("queued", n)
    await services.runs.postpone(job_id, TryAgain("busy"), seconds=1)
    assert (await shop.job(job_id))["attempts"] == 4
    await services.runs.postpone(job_id, RuntimeError("the last"))
    job = await shop.job(job_id)
    assert (job["state"], job["error"]["fault"]) == ("dead", "RuntimeError: the last")
    await services.order_placing.settle(job_id)
    assert await shop.levels("A") == (1, 0)


# -- compacting --


async def test_a_compacted_job_keeps_its_key_and_outcome(services: Services, clock: MovableClock):
    job = await claimed(services, await submitted(services, key="k"))
    await services.runs.fail(job, OutOfStock(lines=[]))
    assert await services.relay.compact() == 0
    clock.move(hours=24, seconds=5)
    assert await services.relay.compact() == 1
    stored = await services.jobs.get(job.id, owner=None)
    assert stored.keys().isdisjoint({"payload", "history", "progress"})
    assert (stored["state"], stored["error"]["code"]) == ("failed", "out_of_stock")
    again = await services.jobs.submit(RELEASE, owner="ada", key="k")
    assert (again.job_id, again.state, again.replayed) == (job.id, "failed", True)
    with pytest.raises(IdempotencyKeyReused):
        await services.jobs.submit(Release(reservation_id="x"), owner="ada", key="k")
    with pytest.raises(Conflict) as refused:
        await services.jobs.replay(job.id, by="ops")
    assert "compacted" in refused.value.detail["reason"]


async def test_what_was_still_open_when_the_sweep_passed_is_compacted_once_it_ends(
    services: Services, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay, "ASKED", 2)
    job_id = await submitted(services)
    others = [await submitted(services) for _ in range(4)]
    clock.move(hours=25)
    assert await services.relay.compact() == 0
    assert (await services.jobs.get(job_id, owner=None))["payload"] == RELEASE.payload()
    await services.runs.succeed(await claimed(services, job_id), {"x": 1})
    assert await services.relay.compact() == 0
    clock.move(hours=25)
    assert await services.relay.compact() == 1
    assert "payload" not in await services.jobs.get(job_id, owner=None)
    for each in others:
        await services.runs.succeed(await claimed(services, each), {"x": 1})
    clock.move(hours=25)
    assert await services.relay.compact() == len(others)
    assert await services.relay.compact() == 0
    assert await left_open(services) == []


# -- telling --


async def test_whoever_waits_for_a_job_is_told_at_its_end(services: Services):
    job = await claimed(services, await submitted(services))
    waiting = asyncio.create_task(services.signals.wait(job.id, seconds=30))
    await eventually(lambda: job.id in services.signals._waiting)
    await services.runs.succeed(job, {"x": 1})
    async with asyncio.timeout(5):
        found = await waiting
    assert found is not None
    assert (found[0], found[1]["state"], found[1]["result"]) == ("ada", "succeeded", {"x": 1})
    assert services.signals._waiting == {}


async def test_whoever_waits_in_vain_is_answered_in_time(services: Services):
    job_id = await submitted(services)
    found = await services.signals.wait(job_id, seconds=0.05)
    assert found is not None
    assert found[1]["state"] == "queued"
    assert await services.signals.wait("nothing", seconds=5) is None


# -- time limits --


async def test_a_verb_that_hangs_is_run_again_and_ends_dead(
    rewire: Callable[..., Services], services: Services, monkeypatch: pytest.MonkeyPatch
):
    limits = services.settings.jobs.model_copy(
        update={"time_limit": timedelta(milliseconds=30), "max_attempts": 2}
    )
    hasty = rewire(settings=services.settings.model_copy(update={"jobs": limits}))

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    job_id = await submitted(hasty)
    handler = dataclasses.replace(HANDLED[RELEASE.kind], run=hang)
    await run_job(handler, hasty, job_id)
    assert await state_of(hasty, job_id) == "queued"
    await run_job(handler, hasty, job_id)
    stored = await hasty.jobs.get(job_id, owner=None)
    assert (stored["state"], "TimeoutError" in stored["error"]["fault"]) == ("dead", True)


async def test_a_process_that_is_to_stop_does_not_wait_for_a_store_that_is_away(
    services: Services, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    job_id = await submitted(services)

    async def away(*_: object, **__: object) -> None:
        raise AutoReconnect

    handler = dataclasses.replace(HANDLED[RELEASE.kind], run=away)
    with monkeypatch.context() as patched:
        patched.setattr(services.runs, "retry", away)
        async with asyncio.timeout(5):
            await run_job(handler, services, job_id, stopping=lambda: True)
    # It is the relay's.
    assert await state_of(services, job_id) == "running"
    clock.move(seconds=services.settings.jobs.lease.total_seconds() + 1)
    assert await services.relay.take_back() == 1
    assert await state_of(services, job_id) == "queued"


def test_no_run_may_outlast_the_brokers_patience():
    with pytest.raises(ValidationError):
        JobSettings(time_limit=timedelta(minutes=30))
