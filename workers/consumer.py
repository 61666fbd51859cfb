"""What takes messages off a queue, and settles them on the connection that they came through."""

# Dramatiq has types for what is public, not for what a consumer is made of.
# mypy: allow-untyped-calls

import contextlib
import dataclasses
import random
import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

import pika.exceptions
import structlog
from dramatiq import Message
from dramatiq.broker import MessageProxy
from dramatiq.brokers.rabbitmq import _RabbitmqConsumer, _RabbitmqMessage
from dramatiq.common import xq_name
from dramatiq.errors import ConnectionClosed, DecodeError

if TYPE_CHECKING:
    from workers.broker import StockyardBroker

log = structlog.get_logger(__name__)

#: Seconds, at least and at most, before a message that came too early is given back to its queue.
PAUSE = (1.0, 2.0)
#: Bytes of an unusable message that are logged.
HEAD = 200
#: Options of a message that actors may read; all others are dropped, for some steer Dramatiq.
OPTIONS = ("request_id", "traceparent")
#: The actor that leaves jobs to newer workers, and the option that has the kind, as the message named it.
NEWER, NAMED = "stockyard.newer", "newer_kind"
#: What a kind looks like, with the version of its payload where that is not the first.
_KIND = re.compile(r"[a-z][a-z_]{0,40}\.[a-z][a-z_]{0,40}(@[0-9]{1,6})?")

_NOT_FOUND = 404
_PIKA_ERRORS = (pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError)


class StockyardMessage(_RabbitmqMessage):
    """A message that knows which consumer it came through: delivery tags mean nothing to another."""

    def __init__(self, delivery: Any, message: "Message[Any]", consumer: "StockyardConsumer") -> None:
        super().__init__(delivery.redelivered, delivery.delivery_tag, message)
        self.consumer = consumer
        self.tag: int = delivery.delivery_tag
        #: Set where the message is to be given back to its queue instead of being settled.
        self.comes_back = False


class StockyardConsumer(_RabbitmqConsumer):
    """Settles the messages that it delivered itself, and no other.

    Dramatiq's own consumer goes by the delivery tag alone. A job that outlives its consumer's connection
    then acks whatever message has that tag on the next one, and that message is lost. Here its ack is
    ignored: RabbitMQ has redelivered the job already, and it runs again.
    """

    def __init__(self, broker: "StockyardBroker", queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self._wait = timeout / 1000
        #: Whether RabbitMQ has no consumer of ours, although the connection is open.
        self._cancelled = False

    def ack(self, message: MessageProxy) -> None:
        """Never raises: where it cannot be sent, RabbitMQ delivers the message again."""
        if not self._owns(message):
            return
        with contextlib.suppress(ConnectionClosed, *_PIKA_ERRORS):
            if message.comes_back:
                self._give_back(message, after=random.uniform(*PAUSE))
            else:
                super().ack(message)

    def nack(self, message: MessageProxy) -> None:
        """As `ack`, but the message goes to the `.XQ` queue."""
        if self._owns(message):
            with contextlib.suppress(ConnectionClosed, *_PIKA_ERRORS):
                super().nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Gives messages that nobody has begun back at once."""
        for message in messages:
            if self._owns(message):
                with contextlib.suppress(*_PIKA_ERRORS):
                    self._give_back(message, after=0)

    def close(self) -> None:
        """As Dramatiq's, which leaves the connection open where the channel is closed already."""
        self.broker.consumed.discard(self.queue_name)
        try:
            super().close()
        finally:
            if self.connection.is_open:
                self.connection.close()

    def __next__(self) -> StockyardMessage | None:
        """The next message; None when there was none in time, and while the queue is held.

        Raises ConnectionClosed; Dramatiq's consumer thread then makes a new consumer.
        """
        if self._held():
            self._idle()
            return None
        self._consume_again()
        delivery = self._delivery()
        self.broker.seen(self.queue_name)
        if self._held():
            self._idle(delivery)
            return None
        if delivery is None:
            return None
        method, body = delivery
        message = self._read(body)
        if message is None:
            self._nack(method.delivery_tag)
            return None
        self.known_tags.add(method.delivery_tag)
        return StockyardMessage(method, message, self)

    def _owns(self, message: MessageProxy) -> TypeGuard[StockyardMessage]:
        if (
            isinstance(message, StockyardMessage)
            and message.consumer is self
            and message.tag in self.known_tags
        ):
            return True
        log.info(
            "the late end of a job is ignored: it runs again",
            queue=self.queue_name,
            job_id=message.message_id,
        )
        return False

    def _give_back(self, message: StockyardMessage, *, after: float) -> None:
        self.known_tags.discard(message.tag)
        give = partial(self._requeue, message.tag)
        later = partial(self.connection.call_later, after, give) if after else give
        self.connection.add_callback_threadsafe(later)

    def _requeue(self, tag: int) -> None:
        if self.channel.is_open:
            self.channel.basic_nack(tag, requeue=True)

    def _delivery(self) -> tuple[Any, bytes] | None:
        try:
            method, _properties, body = next(self.iterator)
        except StopIteration:  # RabbitMQ cancelled the consumer, as when its queue is deleted
            self.broker.queues_pending.add(self.queue_name)
            raise ConnectionClosed("the consumer was cancelled") from None
        except (AssertionError, *_PIKA_ERRORS) as error:
            if getattr(error, "reply_code", None) == _NOT_FOUND:
                self.broker.queues_pending.add(self.queue_name)
            raise ConnectionClosed(error) from None
        return None if method is None else (method, body)

    def _held(self) -> bool:
        """Whether no more is to be taken: the process stops, or ops say so of it or of the pool."""
        return self.broker.draining.is_set() or self.queue_name in self.broker.held

    def _idle(self, delivery: tuple[Any, bytes] | None = None) -> None:
        """Takes no more, gives back what came meanwhile, and keeps the connection for the acks to come."""
        try:
            if not self._cancelled:
                self._cancelled = True
                self.broker.consumed.discard(self.queue_name)
                self.channel.cancel()
                self.requeue(self.broker.take_unbegun(self.queue_name))
            if delivery is not None:
                self._requeue(delivery[0].delivery_tag)
            self.connection.process_data_events(time_limit=self._wait)
        except (AssertionError, *_PIKA_ERRORS) as error:
            raise ConnectionClosed(error) from None
        self.broker.seen(self.queue_name)

    def _consume_again(self) -> None:
        """What was held is consumed again, over the same connection."""
        if self._cancelled:
            self._cancelled = False
            self.iterator = self.channel.consume(self.queue_name, inactivity_timeout=self._wait)
        self.broker.consumed.add(self.queue_name)

    def _read(self, body: bytes) -> "Message[Any] | None":
        """The message, freed of all that could steer Dramatiq; None, and a line in the log, if unusable."""
        try:
            message = Message.decode(body)
        except DecodeError:
            problem: str | None = "not a job message"
        else:
            problem = self._problem(message)
        if problem is None:
            return self._cleaned(message)
        log.error(
            "a message cannot be used",
            queue=self.queue_name,
            reason=problem,
            moved_to=xq_name(self.queue_name),
            head=repr(body[:HEAD]),
        )
        return None

    def _problem(self, message: Any) -> str | None:
        """Types are looked at, too: whoever can write to the queue decides what is in a message."""
        kind = message.actor_name
        if not isinstance(kind, str) or not (kind in self.broker.actors or self._is_newer(kind)):
            return f"unknown kind {kind!r}"
        if len(message.args) != 1 or not isinstance(message.args[0], str) or message.kwargs:
            return "its one argument has to be a job id"
        if not isinstance(message.options, dict) or "eta" in message.options:
            return "its options cannot be used"
        return None

    def _is_newer(self, kind: str) -> bool:
        """Whether it may be a kind of a newer version of the platform, and somebody is there for such."""
        return NEWER in self.broker.actors and _KIND.fullmatch(kind) is not None

    def _cleaned(self, message: "Message[Any]") -> "Message[Any]":
        options = {
            name: message.options[name] for name in OPTIONS if isinstance(message.options.get(name), str)
        }
        name = message.actor_name
        if name not in self.broker.actors:
            name, options[NAMED] = NEWER, name
        return dataclasses.replace(
            message,
            queue_name=self.queue_name,
            actor_name=name,
            kwargs={},
            options=options,
            message_id=message.args[0],
        )
