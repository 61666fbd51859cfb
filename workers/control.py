"""Whether a worker process does its work, and how it stops: liveness, draining."""

import asyncio
import contextlib
import threading
from queue import Empty
from typing import Any

from workers.broker import StockyardWorker

#: Seconds that a queue may go unconsumed: longer than RabbitMQ takes to start and consumers to come back.
SILENCE = 30.0
#: Seconds in which the event loop has to answer.
LOOP_PATIENCE = 2.0


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


def loop_alive(loop: asyncio.AbstractEventLoop, *, patience: float = LOOP_PATIENCE) -> list[str]:
    """What is wrong with the event loop that runs the actors; nothing when it answers in time."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return ["the event loop is closed"]
    return [] if answered.wait(patience) else [f"the event loop has not answered for {patience:.0f} s"]


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
