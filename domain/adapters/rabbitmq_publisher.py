"""Publishes many messages with their confirms outstanding together."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pika
import structlog
from pika.exceptions import ChannelClosedByBroker

from domain.adapters.rabbitmq_connection import Handover, Link

log = structlog.get_logger(__name__)

#: Seconds that a message may stay unconfirmed on a connection that looks alive before that is given up.
STALL = 10.0
#: RabbitMQ's answer to another declaration of a queue that exists.
PRECONDITION_FAILED = 406


@dataclass(slots=True)
class Batch:
    """Messages that are published together, and which of them the broker has confirmed."""

    messages: Sequence[tuple[str, bytes]]
    deadline: float
    settled: "asyncio.Future[None]"
    confirmed: list[bool] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is confirmed."""
        self.left = len(self.messages)
        self.confirmed = [False] * self.left

    def settle(self, index: int, *, confirmed: bool) -> bool:
        """Records what became of one message. Whether it was the last."""
        self.confirmed[index] = confirmed
        self.left -= 1
        return not self.left


@dataclass(slots=True)
class _Parcel:
    """One message of a batch on its way."""

    batch: Batch
    index: int
    queue: str
    body: bytes
    since: float
    returned: bool = False
    resent: bool = False


class Publisher:
    """Publishes batches over one link. `post` is for any one thread, all else for the link's.

    `declarations` answers the queues to declare, in order, before the first message to a queue. `settled`
    is called on the link's thread with each batch of which nothing is left to wait for.
    """

    def __init__(
        self,
        parameters: Sequence[pika.URLParameters],
        declarations: Callable[[str], Mapping[str, dict[str, Any]]],
        settled: Callable[[Batch], None],
    ) -> None:
        self.link = Link(parameters, self)
        self._declarations = declarations
        self._settled = settled
        self._inbox: Handover[Batch] = Handover(self.link.wake, self._take)
        self._tag = self._floor = 0
        self._unconfirmed: dict[int, _Parcel] = {}
        self._undeclared: dict[str, list[_Parcel]] = {}
        self._declared: set[str] = set()

    def post(self, batch: Batch) -> None:
        """Publishes the batch; nothing waits for a connection that is not there."""
        self._inbox.put(batch)

    def up(self, channel: Any) -> Callable[[Any], None]:
        """As `User.up`."""
        self._tag = self._floor = 0
        channel.add_on_return_callback(self._returned)
        return partial(self._confirmed, channel)

    def down(self) -> None:
        """As `User.down`: all that is unconfirmed stays so."""
        held = [
            *self._unconfirmed.values(),
            *(parcel for some in self._undeclared.values() for parcel in some),
        ]
        self._unconfirmed.clear()
        self._undeclared.clear()
        self._declared.clear()
        for parcel in held:
            self._end(parcel, confirmed=False)

    def overdue(self) -> bool:
        """As `User.overdue`."""
        oldest = [
            next(iter(self._unconfirmed.values()), None),
            *(some[0] for some in self._undeclared.values()),
        ]
        now = time.monotonic()
        return any(parcel is not None and now - parcel.since > STALL for parcel in oldest)

    def _take(self, batch: Batch) -> None:
        now = time.monotonic()
        for index, (queue, body) in enumerate(batch.messages):
            self._send(_Parcel(batch, index, queue, body, now))

    def _send(self, parcel: _Parcel) -> None:
        channel = self.link.channel
        if channel is None or not channel.is_open:
            self._end(parcel, confirmed=False)
        elif parcel.queue not in self._declared:
            self._hold(parcel)
        else:
            self._tag += 1
            self._unconfirmed[self._tag] = parcel
            # The number is how a message that is returned names itself.
            properties = pika.BasicProperties(delivery_mode=2, message_id=str(self._tag))
            channel.basic_publish("", parcel.queue, parcel.body, properties, mandatory=True)

    def _end(self, parcel: _Parcel, *, confirmed: bool) -> None:
        if parcel.batch.settle(parcel.index, confirmed=confirmed):
            self._settled(parcel.batch)

    def _confirmed(self, channel: Any, frame: Any) -> None:
        """An ack or a nack, of one message or of all up to it."""
        if channel is not self.link.channel:
            return  # the numbers of a channel that was given up
        answer = frame.method
        confirmed = isinstance(answer, pika.spec.Basic.Ack)
        first = self._floor + 1 if answer.multiple else answer.delivery_tag
        for tag in range(first, answer.delivery_tag + 1):
            parcel = self._unconfirmed.pop(tag, None)
            if parcel is None:
                continue
            if parcel.returned:
                self._send_again(parcel)
            else:
                self._end(parcel, confirmed=confirmed)
        if answer.multiple:
            self._floor = answer.delivery_tag

    def _returned(self, channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        """There is no such queue any more. The confirm, which follows, sends the message once again."""
        parcel = self._unconfirmed.get(int(properties.message_id))
        if parcel is not None and channel is self.link.channel:
            parcel.returned = True
            if parcel.queue in self._declared:
                self._declared.remove(parcel.queue)
                log.warning("a queue is gone and will be declared again", queue=parcel.queue)

    def _send_again(self, parcel: _Parcel) -> None:
        if parcel.resent or parcel.batch.deadline < time.monotonic():
            self._end(parcel, confirmed=False)
        else:
            parcel.returned, parcel.resent = False, True
            self._send(parcel)

    def _hold(self, parcel: _Parcel) -> None:
        """Keeps the message until its queue is declared."""
        held = self._undeclared.get(parcel.queue)
        if held is not None:
            held.append(parcel)
            return
        held = self._undeclared[parcel.queue] = [parcel]
        declared = self.link.ask(partial(self._declare, parcel.queue))
        declared.add_done_callback(partial(self._release, parcel.queue, held))

    def _declare(self, queue: str, channel: Any, answer: Callable[[Any], None]) -> None:
        *before, (last, arguments) = self._declarations(queue).items()
        for name, needed in before:
            channel.queue_declare(name, durable=True, arguments=needed, callback=lambda _frame: None)
        channel.queue_declare(last, durable=True, arguments=arguments, callback=answer)

    def _release(self, queue: str, held: list[_Parcel], declared: "Future[Any]") -> None:
        if self._undeclared.get(queue) is not held:
            return  # given up with the connection
        del self._undeclared[queue]
        error = declared.exception()
        differs = isinstance(error, ChannelClosedByBroker) and error.reply_code == PRECONDITION_FAILED
        if differs:
            log.error(
                "a queue exists with other arguments",
                queue=queue,
                error=str(error),
                remedy="raise queue_version",
            )
        if error is None or differs:  # what differs takes messages, too
            self._declared.add(queue)
        else:
            log.warning("a queue could not be declared", queue=queue, error=repr(error))
        for parcel in held:
            if error is None or differs:
                self._send(parcel)
            else:
                self._end(parcel, confirmed=False)
