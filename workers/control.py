"""Whether a worker process does its work, what ops want of it, and how it stops."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from queue import Empty
from typing import Any

import structlog

from domain.bootstrap import Services
from domain.control.attendance import Attendance, Wanted, memory_bytes
from domain.control.processes import Facts
from domain.control.rules import WORKER
from domain.jobs.commands import pools as all_pools
from workers.broker import StockyardWorker, pools_by_queue

log = structlog.get_logger(__name__)

#: Seconds that a queue may go unconsumed: longer than RabbitMQ takes to start and consumers to come back.
SILENCE = 30.0
#: Seconds in which the event loop has to answer.
LOOP_PATIENCE = 2.0
#: Jobs in hand that a process tells of.
MOST_JOBS = 100


def consumers_alive(worker: StockyardWorker, *, silence: float = SILENCE) -> list[str]:
    """What is wrong with the threads of the worker; nothing when it is well.

    Notices threads that died, and consumers that have had no open connection, channel and consumer tag for
    `silence` seconds, although the process looks alive.
    """
    problems = []
    for queue, thread in worker.consumers.items():
        if not thread.is_alive():
            problems.append(f"the consumer of {queue} has died")
        elif (seconds := worker.broker.silent_for(queue)) > silence:
            problems.append(f"{queue} has not been consumed for {seconds:.0f} s")
    dead = sum(not thread.is_alive() for thread in worker.workers)
    if dead:
        problems.append(f"{dead} of {len(worker.workers)} worker threads have died")
    return problems


def not_consuming(worker: StockyardWorker) -> list[str]:
    """Queues that wait for their consumer, and are not held by ops; nothing when the worker is ready."""
    broker = worker.broker
    missing = set(worker.consumer_whitelist or ()) - broker.consumed - broker.held
    return [f"{queue} is not consumed yet" for queue in sorted(missing)]


def loop_alive(loop: asyncio.AbstractEventLoop, *, patience: float = LOOP_PATIENCE) -> list[str]:
    """What is wrong with the event loop that runs the actors; nothing when it answers in time."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return ["the event loop is closed"]
    return [] if answered.wait(patience) else [f"the event loop has not answered for {patience:.0f} s"]


def facts(worker: StockyardWorker, pools: Mapping[str, str]) -> Facts:
    """What the process tells of itself; `pools` are the pools by their queues."""
    broker = worker.broker
    return Facts(
        memory_bytes=memory_bytes(),
        jobs=tuple(list(broker.endings.running.values())[:MOST_JOBS]),
        consuming=tuple(sorted({pools[queue] for queue in broker.consumed & pools.keys()})),
    )


def obey(worker: StockyardWorker, pools: Mapping[str, str], wanted: Wanted) -> None:
    """Has the worker's consumers hold the queues that ops want held, and no others.

    They notice within a second. What runs goes on, and what no thread has begun goes back to RabbitMQ.
    """
    held = {queue for queue, pool in pools.items() if wanted.drained or pool in wanted.paused}
    if held != worker.broker.held:
        log.info("queues held", held=sorted(held), drained=wanted.drained)
    worker.broker.held = frozenset(held)


@asynccontextmanager
async def attending(services: Services, worker: StockyardWorker) -> AsyncIterator[Attendance]:
    """Makes the process known to ops, and does what they want of it."""
    rabbitmq = services.settings.rabbitmq
    known = pools_by_queue(all_pools(), rabbitmq)
    pools = {queue: known[queue] for queue in sorted(worker.consumer_whitelist or ())}
    attendance = services.control.attendance(
        WORKER,
        partial(facts, worker, pools),
        pools=tuple(dict.fromkeys(pools.values())),
        threads=worker.worker_threads,
        obey=partial(obey, worker, pools),
    )
    services.meter.works_for(tuple(dict.fromkeys(pools.values())), threads=worker.worker_threads)
    async with attendance.attending():
        yield attendance


def drain(worker: StockyardWorker) -> None:
    """Idempotent. Consumers take no more, and what no thread has begun goes back to its queue.

    What runs goes on, and its acks are sent.
    """
    worker.broker.draining.set()
    with contextlib.suppress(Empty):
        while True:
            message: Any = worker.work_queue.get_nowait().message
            message.consumer.requeue([message])
            worker.work_queue.task_done()
