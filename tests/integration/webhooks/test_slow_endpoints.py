"""One slow endpoint delays no other."""

import asyncio
from time import monotonic

import pytest

from domain.notifications.webhooks import places
from domain.notifications.webhooks.places import PART
from domain.values import new_id
from tests.factories import eventually
from tests.receiver import Call, Receiver, answer
from tests.webhooks import Post
from workers.handles import run_job
from workers.kinds import HANDLED


async def test_an_endpoint_that_hangs_delays_no_other(post: Post, receiver: Receiver):
    release = asyncio.Event()

    async def hang(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(200)(call, writer)

    receiver.answers["/hangs"] = hang
    hanging = await post.endpoint(path="/hangs")
    bob = new_id()
    quick = await post.endpoint(bob, "/quick")
    for _ in range(2):
        await post.happen(*[post.me] * 50)
    await post.happen(*[bob] * 40)
    waiting = [job["_id"] for job in [*await post.jobs(hanging), *await post.jobs(quick)]]
    assert len(waiting) == 140
    threads, handler = asyncio.Semaphore(64), HANDLED["notifications.webhook"]

    async def thread(job_id: str) -> None:
        async with threads:
            await run_job(handler, post.services, job_id)

    # Those that hang are before all others in the queue of a worker with 64 threads.
    runs = [asyncio.create_task(thread(job_id)) for job_id in waiting]
    limit = post.services.settings.webhooks.concurrency // PART
    await eventually(lambda: sum(run.done() for run in runs) == 140 - limit, within=60)
    assert receiver.busy["/hangs"] == receiver.busiest["/hangs"] == limit
    assert len(receiver.at("/quick")) >= limit
    # What found no place at once finds one as it comes again, while the others still hang.
    while again := [job for job in await post.jobs(quick) if job["state"] == "queued"]:
        await asyncio.gather(*(thread(job["_id"]) for job in again))
    assert len(receiver.at("/quick")) == 40
    assert (len(receiver.at("/hangs")), release.is_set()) == (limit, False)
    release.set()
    await asyncio.gather(*runs)
    jobs = await post.jobs(hanging)
    assert [job["state"] for job in jobs].count("succeeded") == limit
    back = [job for job in jobs if job["state"] == "queued"]
    assert len(back) == 100 - limit
    # They wait for a place, which is no attempt.
    assert {job["attempts"] for job in back} == {0}
    assert (await post.stored(hanging))["failures"] == 0
    assert len({job["not_before"] for job in back}) > 20


async def test_an_endpoint_that_was_fast_and_hangs_now_is_slow_before_the_call_is_over(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    endpoint, release = await post.endpoint(), asyncio.Event()
    await post.happen()
    assert [job["state"] for job in await post.send()] == ["succeeded"]
    monkeypatch.setattr(places, "SLOW", 0.2)

    async def hang(call: Call, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answer(200)(call, writer)

    receiver.answers["/"] = hang
    await post.happen(*[post.me] * 13)
    first, *others = [job["_id"] for job in await post.jobs() if job["state"] == "queued"]
    handler = HANDLED["notifications.webhook"]
    calling = asyncio.create_task(run_job(handler, post.services, first))
    await eventually(lambda: receiver.busy["/"] == 1)
    began = monotonic()
    await eventually(lambda: monotonic() > began + 0.2)
    runs = [asyncio.create_task(run_job(handler, post.services, each)) for each in others]
    limit = post.services.settings.webhooks.concurrency // PART
    await eventually(lambda: sum(run.done() for run in runs) == 13 - limit)
    assert receiver.busiest["/"] == limit
    release.set()
    await asyncio.gather(calling, *runs)
    assert [job["state"] for job in await post.jobs(endpoint)].count("succeeded") == 1 + limit
