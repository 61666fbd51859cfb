"""A job that is sent ahead passes what waits in its pool's queue."""

import threading
from collections.abc import Iterator

import dramatiq
import pytest

from domain.adapters.rabbitmq import RabbitmqJobQueue
from domain.ports import JobMessage
from domain.settings import Settings
from domain.values import new_id
from tests.factories import eventually
from workers.broker import StockyardBroker, StockyardWorker, make_broker, pools_by_queue, queue_name
from workers.control import consumers_alive

KIND = "test.express"
WAITING = 30


@pytest.fixture
def broker(settings: Settings) -> Iterator[StockyardBroker]:
    made = make_broker(settings.rabbitmq)
    yield made
    made.close()


async def test_a_job_sent_ahead_passes_what_waits(settings: Settings, broker: StockyardBroker):
    pool, ahead, done = f"pool-{new_id()[-12:]}", new_id(), list[str]()
    finished, go_on = threading.Event(), threading.Event()

    def act(job_id: str) -> None:
        go_on.wait(20)
        done.append(job_id)
        if len(done) > WAITING:
            finished.set()

    queue_of = queue_name(pool, settings.rabbitmq)
    dramatiq.actor(broker=broker, actor_name=KIND, queue_name=queue_of)(act)
    queue = RabbitmqJobQueue(settings.rabbitmq)
    await queue.open()
    try:
        before = [JobMessage(new_id(), KIND, pool) for _ in range(WAITING)]
        assert all(await queue.publish([*before, JobMessage(ahead, KIND, pool, express=True)]))
    finally:
        await queue.close()
    queues = pools_by_queue([pool], settings.rabbitmq)
    assert set(queues.values()) == {pool}
    worker = StockyardWorker(broker, queues, threads=1)
    worker.worker_timeout = 200
    worker.start()
    try:
        # One is at work; what else was fetched of the first queue, and the one of the express queue, wait.
        await eventually(lambda: worker.work_queue.qsize() == worker.queue_prefetch)
        go_on.set()
        await eventually(finished.is_set)
        assert done.index(ahead) <= worker.queue_prefetch
        assert sorted(done) == sorted([ahead, *(message.job_id for message in before)])
        assert consumers_alive(worker) == []
    finally:
        go_on.set()
        worker.stop(timeout=5000)
