"""RabbitMQ as the job queue: a pointer per job, persistent, mandatory, confirmed."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dramatiq
from dramatiq.common import xq_name
from pika.exceptions import AMQPError, ChannelClosedByBroker

from domain import telemetry
from domain.adapters.rabbitmq_connection import Handover
from domain.adapters.rabbitmq_publisher import Batch, Publisher
from domain.adapters.rabbitmq_queues import (
    connection_parameters,
    dead_letter_arguments,
    names_of_form,
    queue_arguments,
    queue_name,
    quiet_pika,
)
from domain.ports import Connections, FormerQueue, JobMessage, QueueDepth, QueueForm
from domain.settings import Rabbitmq

#: Seconds between two looks for publishes that are past their deadline.
SWEEP = 0.05
#: RabbitMQ's answer where there is no such queue.
NOT_FOUND = 404


class RabbitmqJobQueue:
    """Implements `ports.JobQueue` for the event loop that opens it.

    All publishes of a process share one thread and one connection, with their confirms outstanding
    together. The connection is opened again, with backoff, for as long as it takes.
    """

    def __init__(self, settings: Rabbitmq) -> None:
        self._settings = settings
        self._timeout = settings.publish_timeout.total_seconds()
        self._publisher: Publisher | None = None
        self._live: deque[Batch] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Returns when connected, or when RabbitMQ turns out to be away: that is no error here."""
        quiet_pika()
        loop = asyncio.get_running_loop()
        settled: Handover[Batch] = Handover(loop.call_soon_threadsafe, _settle)
        parameters = connection_parameters(self._settings, name="stockyard publisher")
        self._publisher = Publisher(parameters, self._declarations, settled.put)
        self._publisher.link.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self._publisher.link.tried), self._timeout)

    async def close(self, *, seconds: float = 5.0) -> None:
        """Idempotent. What is outstanding keeps its chance until its deadline, then RabbitMQ `seconds`."""
        publisher, self._publisher = self._publisher, None
        if publisher is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await asyncio.gather(*(batch.settled for batch in self._live), return_exceptions=True)
        await asyncio.to_thread(publisher.link.stop, seconds=seconds)
        await asyncio.sleep(0)  # lets what the stop settled reach its callers
        if self._sweep is not None:
            self._sweep.cancel()
        while self._live:
            _settle(self._live.popleft())

    async def publish(self, messages: Sequence[JobMessage]) -> list[bool]:
        """As `ports.JobQueue.publish` promises. A queue is declared before the first message to it."""
        publisher = self._publisher
        if not messages or publisher is None or not publisher.link.connected:
            return [False] * len(messages)
        loop = asyncio.get_running_loop()
        batch = Batch(
            [self._encode(message) for message in messages],
            time.monotonic() + self._timeout,
            loop.create_future(),
        )
        self._live.append(batch)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP, self._expire)
        facts: telemetry.Facts = {
            "messaging.system": "rabbitmq",
            "messaging.batch.message_count": len(messages),
        }
        with telemetry.span("publish", facts, kind="producer"):
            publisher.post(batch)
            await batch.settled
        return list(batch.confirmed)

    async def depth(self, pool: str) -> QueueDepth | None:
        """As `ports.JobQueue.depth` promises, by asking RabbitMQ now."""
        asked = (self._declared(queue_name(pool, self._settings, express=lane)) for lane in (False, True))
        found, ahead = await asyncio.gather(*asked)
        if found is None:
            return None
        return QueueDepth(
            ready=found.message_count + (ahead.message_count if ahead else 0),
            consumers=found.consumer_count,
        )

    async def _declared(self, queue: str) -> Any:
        try:
            frame = await self._ask(
                lambda channel, answer: channel.queue_declare(queue, passive=True, callback=answer)
            )
        except (AMQPError, OSError, TimeoutError):
            return None
        return frame.method

    async def purge(self, pool: str) -> int | None:
        """As `ports.JobQueue.purge` promises."""
        asked = (self._purged(queue_name(pool, self._settings, express=lane)) for lane in (False, True))
        dropped = [count for count in await asyncio.gather(*asked) if count is not None]
        return sum(dropped) if dropped else None

    async def _purged(self, queue: str) -> int | None:
        try:
            frame = await self._ask(lambda channel, answer: channel.queue_purge(queue, callback=answer))
        except (AMQPError, OSError, TimeoutError):
            return None
        return int(frame.method.message_count)

    async def former(self, pool: str, form: QueueForm) -> list[FormerQueue]:
        """As `ports.JobQueue.former` promises."""
        return [each for name in names_of_form(pool, form) if (each := await self._former(name))]

    async def _former(self, queue: str) -> FormerQueue | None:
        try:
            frame = await self._ask(
                lambda channel, answer: channel.queue_declare(queue, passive=True, callback=answer)
            )
        except ChannelClosedByBroker as error:
            if error.reply_code == NOT_FOUND:
                return None
            raise ConnectionError(str(error)) from error
        except (AMQPError, OSError, TimeoutError) as error:
            raise ConnectionError(str(error) or "it does not answer") from error
        return FormerQueue(queue, frame.method.message_count, frame.method.consumer_count)

    async def delete(self, name: str) -> bool:
        """As `ports.JobQueue.delete` promises. A quorum queue cannot be deleted on a condition."""
        found = await self._former(name)
        if found is None or not found.idle:
            return found is None
        try:
            await self._ask(lambda channel, answer: channel.queue_delete(name, callback=answer))
        except (AMQPError, OSError, TimeoutError):
            return False
        return True

    def connections(self) -> Connections:
        """The publisher's connection; who waits, waits for confirms."""
        connected = self._publisher is not None and self._publisher.link.connected
        return Connections(open=int(connected), waiting=sum(not each.settled.done() for each in self._live))

    async def ping(self) -> None:
        """Opens a channel. Raises ConnectionError, TimeoutError or AMQPError."""
        if self._publisher is None or not self._publisher.link.connected:
            why = self._publisher.link.trouble if self._publisher is not None else None
            raise ConnectionError(why or "there is no open connection to RabbitMQ")
        await self._ask(lambda _channel, answer: answer(None))

    async def _ask(self, request: Callable[[Any, Callable[[Any], None]], None]) -> Any:
        if self._publisher is None:
            raise ConnectionError("the job queue is not open")
        return await asyncio.wait_for(asyncio.wrap_future(self._publisher.link.ask(request)), self._timeout)

    def _declarations(self, queue: str) -> Mapping[str, dict[str, Any]]:
        return {
            xq_name(queue): dead_letter_arguments(self._settings),
            queue: queue_arguments(queue, self._settings),
        }

    def _encode(self, message: JobMessage) -> tuple[str, bytes]:
        """The queue, and the body as Dramatiq's workers read it. Its message id is the job's id."""
        queue = queue_name(message.pool, self._settings, express=message.express)
        trace = {"traceparent": message.traceparent} if message.traceparent else {}
        body: dramatiq.Message[None] = dramatiq.Message(
            queue_name=queue,
            actor_name=message.kind,
            args=(message.job_id,),
            kwargs={},
            options={"request_id": message.request_id} | trace,
            message_id=message.job_id,
        )
        return queue, body.encode()

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        while self._live and (self._live[0].settled.done() or self._live[0].deadline <= now):
            _settle(self._live.popleft())
        self._sweep = loop.call_later(SWEEP, self._expire) if self._live else None


def _settle(batch: Batch) -> None:
    if not batch.settled.done():
        batch.settled.set_result(None)
