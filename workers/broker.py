"""Dramatiq on RabbitMQ, with what the promises need and nothing else.

The middleware, all of it:

- `CurrentMessage`: an actor finds the request id in the options of its message.
- `Endings`: says what becomes of a message whose actor raised, and knows what is running.

What is left out: `Retries`, `Callbacks` and `Pipelines` enqueue, and only the ledger sends jobs;
`AgeLimit` would drop what the ledger counts on; `ShutdownNotifications` interrupts actors, and a stop lets
them finish; `TimeLimit` raises into a thread that only waits for a coroutine, so a limit belongs into the
coroutine, below RabbitMQ's `consumer_timeout` of 30 minutes; `Prometheus` opens a port of its own. There are
no `.DQ` queues either: delays live in the ledger.
"""

# Dramatiq has types for what is public, not for what a broker is made of.
# mypy: allow-untyped-calls

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from queue import Empty
from typing import Any

import structlog
from dramatiq.broker import Broker, Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import xq_name
from dramatiq.middleware import CurrentMessage, Middleware, SkipMessage
from dramatiq.worker import Worker

from domain.adapters.rabbitmq_queues import (
    connection_parameters,
    dead_letter_arguments,
    pools_by_queue,
    queue_arguments,
    queue_name,
    quiet_pika,
)
from domain.control.processes import JobInHand
from domain.jobs.commands import plain_kind
from domain.settings import Rabbitmq
from domain.values import utcnow
from workers.consumer import StockyardConsumer

__all__ = [
    "Endings",
    "StockyardBroker",
    "StockyardWorker",
    "StoreAway",
    "make_broker",
    "pools_by_queue",
    "queue_name",
]

log = structlog.get_logger(__name__)

#: Seconds between two lines about messages that come back.
SAY_EVERY = 5.0
#: One message in this many threads waits in the process for the next free thread.
THREADS_PER_SPARE = 4


class StoreAway(Exception):
    """Raised by an actor: the job cannot even be looked at now.

    Its message is given back to the queue after 1 to 2 seconds, as often as it takes. Nothing counts it.
    """


#: What an actor may raise for its message to come back. The second: the event loop is being stopped.
COMES_BACK = (StoreAway, CancelledError)


class Endings(Middleware):
    """An actor that returns has settled its job. If it raises, its message comes back or is put aside.

    `handles` records a job's failure in the ledger and returns; so whatever else is raised is a fault of
    ours. Its message goes to the `.XQ` queue, and the ledger, where the job is still open, sends another.
    """

    def __init__(self) -> None:
        #: What runs now, by thread.
        self.running: dict[int, JobInHand] = {}
        self._said = float("-inf")

    def after_declare_actor(self, _broker: Broker, actor: Any) -> None:
        """Dramatiq logs a traceback for every exception that is not among an actor's `throws`."""
        actor.options["throws"] = COMES_BACK

    def before_process_message(self, _broker: Broker, message: Any) -> None:
        """Notes what runs. What was fetched over a connection that is gone is skipped: it comes again."""
        if not message.consumer.connection.is_open:
            raise SkipMessage
        job = JobInHand(message.message_id, plain_kind(message.actor_name), utcnow())
        self.running[threading.get_ident()] = job

    def after_process_message(
        self, _broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Marks the message; the consumer acts on the mark."""
        del result
        self.running.pop(threading.get_ident(), None)
        if exception is None:
            return
        if isinstance(exception, COMES_BACK):
            message.comes_back = True
            self._say(message, exception)
        else:
            message.fail()
            log.error(
                "an actor failed",
                job_id=message.message_id,
                kind=message.actor_name,
                reason=repr(exception),
                moved_to=xq_name(message.queue_name),
            )

    def _say(self, message: Any, exception: BaseException) -> None:
        if time.monotonic() - self._said > SAY_EVERY:
            self._said = time.monotonic()
            log.warning("messages come back", queue=message.queue_name, reason=repr(exception))


class StockyardBroker(RabbitmqBroker):
    """Queues as the publisher declares them, confirms, and the consumer that settles only its own."""

    def __init__(self, settings: Rabbitmq) -> None:
        self.endings = Endings()
        super().__init__(confirm_delivery=True, middleware=[CurrentMessage(), self.endings])
        self._settings = settings
        # Consumers of many processes spread over the nodes of a cluster.
        parameters = connection_parameters(settings, name="stockyard worker")
        self.parameters = random.sample(parameters, len(parameters))
        #: Set once for a stop: consumers take no more, and what runs is still acked.
        self.draining = threading.Event()
        #: Queues that are not to be consumed, for ops say so.
        self.held: frozenset[str] = frozenset()
        #: Takes what no thread has begun out of the process's hands, by queue. The worker sets it.
        self.take_unbegun: Callable[[str], list[Any]] = lambda _queue: []
        #: Queues that have a consumer of ours at RabbitMQ now.
        self.consumed: set[str] = set()
        self._born = time.monotonic()
        self._seen: dict[str, float] = {}

    @property
    def consumer_class(self) -> type[StockyardConsumer]:
        """What reads the queues."""
        return StockyardConsumer

    def seen(self, queue: str) -> None:
        """Called by the queue's consumer with every sign of life."""
        self._seen[queue] = time.monotonic()

    def silent_for(self, queue: str) -> float:
        """Seconds since the queue was consumed."""
        return time.monotonic() - self._seen.get(queue, self._born)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """As Dramatiq's, without keeping the declaring connection, which nobody would send heartbeats on."""
        try:
            return super().consume(queue_name, prefetch, timeout)
        finally:
            del self.connection

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """As Dramatiq's, without a delay queue."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.queues_pending.add(queue_name)
            self.emit_after("declare_queue", queue_name)
        if ensure:
            self._ensure_queue(queue_name)

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return queue_arguments(queue_name, self._settings)

    def _declare_dq_queue(self, queue_name: str) -> None:
        """There is none."""

    def _declare_xq_queue(self, queue_name: str) -> Any:
        arguments = dead_letter_arguments(self._settings)
        return self.channel.queue_declare(queue=xq_name(queue_name), durable=True, arguments=arguments)


def make_broker(settings: Rabbitmq) -> StockyardBroker:
    """A broker that has not connected to anything yet."""
    quiet_pika()
    return StockyardBroker(settings)


class StockyardWorker(Worker):
    """The threads for some queues, not started.

    It prefetches a quarter more than its threads: enough to keep them busy while acks travel, and little
    enough for other processes to get their share.
    """

    broker: StockyardBroker

    def __init__(self, broker: StockyardBroker, queues: Iterable[str], *, threads: int) -> None:
        wanted = set(queues)
        for queue in wanted:
            broker.declare_queue(queue)
        super().__init__(broker, queues=wanted, worker_threads=threads)
        self.queue_prefetch = threads + max(1, threads // THREADS_PER_SPARE)
        broker.take_unbegun = self.take_unbegun

    def take_unbegun(self, queue: str) -> list[Any]:
        """The queue's messages that no thread has begun, which none will begin now."""
        taken: list[Any] = []
        others: list[Any] = []
        with contextlib.suppress(Empty):
            while True:
                item = self.work_queue.get_nowait()
                (taken if item.message.queue_name == queue else others).append(item)
        for item in others:
            self.work_queue.put(item)
        for _ in range(len(taken) + len(others)):
            self.work_queue.task_done()
        return [item.message for item in taken]
