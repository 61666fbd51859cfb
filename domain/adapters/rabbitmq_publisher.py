"""One thread, one connection, many confirms outstanding."""

import asyncio
import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pika
import structlog
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError, ChannelClosedByBroker

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

#: Seconds before the first reconnect, and at most. Doubles each round, with jitter.
BACKOFF = 0.1
MAX_BACKOFF = 5.0
#: Seconds that a message may stay unconfirmed on a connection that looks alive before it is given up.
STALL = 10.0
#: RabbitMQ's answer to another declaration of a queue that exists.
PRECONDITION_FAILED = 406


class Handover(Generic[Item]):
    """Hands items from one thread to another, as many as there are in one wake-up.

    `wake` runs a function on the other thread; `receive` gets the items there, in order.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], object], receive: Callable[[Item], None]) -> None:
        self._wake = wake
        self._receive = receive
        self._items: deque[Item] = deque()
        self._woken = False

    def put(self, item: Item) -> None:
        """Called by the giving thread only."""
        self._items.append(item)
        if not self._woken:
            self._woken = True
            self._wake(self._drain)

    def _drain(self) -> None:
        # In this order: what is put from here on wakes again.
        self._woken = False
        for _ in range(len(self._items)):
            self._receive(self._items.popleft())


@dataclass(slots=True)
class Batch:
    """Messages that are published together, and which of them the broker has confirmed."""

    messages: Sequence[tuple[str, bytes]]
    deadline: float
    settled: "asyncio.Future[None]"
    confirmed: list[bool] = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        """All unconfirmed."""
        self.left = len(self.messages)
        self.confirmed = [False] * self.left


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


class _Connection(pika.SelectConnection):  # type: ignore[misc]
    """Sends what one turn of the loop writes in one system call; pika needs three for each message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held_back: list[bytes] = []
        super().__init__(*args, **kwargs)

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._held_back:
            self.ioloop.add_callback(self._emit_held_back)
        self._held_back.append(data)

    def _emit_held_back(self) -> None:
        data = b"".join(self._held_back)
        self._held_back.clear()
        if self._transport is not None:
            super()._adapter_emit_data(data)


class Publisher:
    """Publishes batches; every public method may be called from any one other thread.

    What it is made of:
      parameters: where RabbitMQ is, tried in turn.
      declarations: the queues to declare, in order, before the first message to a queue.
      settle: called on the publisher's thread with each batch of which nothing is left to wait for.
    """

    def __init__(
        self,
        parameters: Sequence[pika.URLParameters],
        declarations: Callable[[str], Mapping[str, dict[str, Any]]],
        settle: Callable[[Batch], None],
    ) -> None:
        #: Whether a message that is handed over now has a chance.
        self.connected = False
        #: Done when the first connection is open, or could not be opened.
        self.tried: Future[None] = Future()
        self._parameters = parameters
        self._declarations = declarations
        self._settle = settle
        self._ioloop = IOLoop()
        self._thread = threading.Thread(target=self._run, name="rabbitmq-publisher", daemon=True)
        self._inbox: Handover[Batch] = Handover(self._ioloop.add_callback_threadsafe, self._take)
        self._connection: Any = None
        self._channel: Any = None
        self._attempts = 0
        self._closing = False
        self._tag = self._floor = 0
        self._unconfirmed: dict[int, _Parcel] = {}
        self._undeclared: dict[str, list[_Parcel]] = {}
        self._declared: set[str] = set()

    def start(self) -> None:
        """Connects, and keeps connecting."""
        self._ioloop.add_callback_threadsafe(self._connect)
        self._ioloop.add_callback_threadsafe(self._watch)
        self._thread.start()

    def stop(self, *, seconds: float = 5.0) -> None:
        """Closes the connection and ends the thread; what is unconfirmed settles as such."""
        self._ioloop.add_callback_threadsafe(self._close)
        self._thread.join(seconds)

    def post(self, batch: Batch) -> None:
        """Publishes the batch; `settle` tells when it is done. Nothing waits for a connection."""
        self._inbox.put(batch)

    def ask(self, request: Callable[[Any, Callable[[Any], None]], None]) -> "Future[Any]":
        """Runs `request(channel, answer)` on a channel of its own.

        The future has what `answer` was called with, or the reason why the channel closed before.
        """
        future: Future[Any] = Future()
        self._ioloop.add_callback_threadsafe(lambda: self._ask(request, future))
        return future

    # From here on all is on the publisher's thread.

    def _run(self) -> None:
        try:
            self._ioloop.start()
        finally:
            self.connected = False
            self._ioloop.close()

    def _connect(self) -> None:
        if self._closing:
            return
        parameters = self._parameters[self._attempts % len(self._parameters)]
        _Connection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._lost,
            on_close_callback=self._lost,
            custom_ioloop=self._ioloop,
        )

    def _opened(self, connection: Any) -> None:
        self._connection = connection
        connection.add_on_connection_blocked_callback(lambda *_: self._blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._blocked(blocked=False))
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(lambda _channel, reason: self._lost(channel.connection, reason))
        channel.add_on_return_callback(
            lambda _channel, _method, properties, _body: self._returned(properties)
        )
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._ready(channel))

    def _ready(self, channel: Any) -> None:
        self._channel = channel
        self._attempts = self._tag = self._floor = 0
        self.connected = True
        self._report_try()
        at = channel.connection.params
        log.info("rabbitmq.connected", host=at.host, port=at.port)

    def _blocked(self, *, blocked: bool) -> None:
        self.connected = not blocked and self._channel is not None
        log.warning("rabbitmq.blocked" if blocked else "rabbitmq.unblocked")

    def _lost(self, connection: Any, reason: BaseException) -> None:
        """The connection, its opening or its channel ended: all that is unconfirmed stays so."""
        if self._connection is not None and connection is not self._connection:
            return  # one that was given up before
        self.connected = False
        self._connection = self._channel = None
        self._declared.clear()
        self._give_up()
        if self._closing:
            self._ioloop.stop()
            return
        with contextlib.suppress(AMQPError):
            if connection.is_open:
                connection.close()
        pause = self._pause()
        log.warning("rabbitmq.away", reason=repr(reason), retry_in=round(pause, 2))
        self._report_try()
        self._ioloop.call_later(pause, self._connect)

    def _pause(self) -> float:
        """Seconds before the next attempt. The pause grows with each round through the addresses."""
        self._attempts += 1
        rounds = self._attempts // len(self._parameters)
        return float(min(MAX_BACKOFF, BACKOFF * 2 ** min(rounds, 10)) * random.uniform(0.5, 1))

    def _report_try(self) -> None:
        if not self.tried.done() and (self.connected or self._attempts >= len(self._parameters)):
            self.tried.set_result(None)

    def _close(self) -> None:
        self._closing = True
        self.connected = False
        if self._connection is None or not self._connection.is_open:
            self._give_up()
            self._ioloop.stop()
        else:
            self._connection.close()

    def _watch(self) -> None:
        """Gives a connection up that looks alive and confirms nothing, as when a queue lost its majority."""
        waiting = [
            next(iter(self._unconfirmed.values()), None),
            *(held[0] for held in self._undeclared.values()),
        ]
        oldest = min((parcel.since for parcel in waiting if parcel is not None), default=None)
        if oldest is not None and time.monotonic() - oldest > STALL and self._connection is not None:
            self._lost(self._connection, TimeoutError(f"no confirm in {STALL:.0f} s"))
        self._ioloop.call_later(1.0, self._watch)

    def _take(self, batch: Batch) -> None:
        now = time.monotonic()
        for index, (queue, body) in enumerate(batch.messages):
            self._send(_Parcel(batch, index, queue, body, now))

    def _send(self, parcel: _Parcel) -> None:
        if self._channel is None or not self._channel.is_open:
            self._end(parcel, confirmed=False)
        elif parcel.queue not in self._declared:
            self._hold(parcel)
        else:
            self._tag += 1
            self._unconfirmed[self._tag] = parcel
            # The number is how a message that is returned names itself.
            properties = pika.BasicProperties(delivery_mode=2, message_id=str(self._tag))
            self._channel.basic_publish("", parcel.queue, parcel.body, properties, mandatory=True)

    def _end(self, parcel: _Parcel, *, confirmed: bool) -> None:
        batch = parcel.batch
        batch.confirmed[parcel.index] = confirmed
        batch.left -= 1
        if not batch.left:
            self._settle(batch)

    def _give_up(self) -> None:
        held = [
            *self._unconfirmed.values(),
            *(parcel for held in self._undeclared.values() for parcel in held),
        ]
        self._unconfirmed.clear()
        self._undeclared.clear()
        for parcel in held:
            self._end(parcel, confirmed=False)

    def _confirmed(self, frame: Any) -> None:
        """An ack or a nack, of one message or of all up to it."""
        answer = frame.method
        confirmed = isinstance(answer, pika.spec.Basic.Ack)
        first = self._floor + 1 if answer.multiple else answer.delivery_tag
        for tag in range(first, answer.delivery_tag + 1):
            parcel = self._unconfirmed.pop(tag, None)
            if parcel is not None:
                self._settle_one(parcel, confirmed=confirmed)
        if answer.multiple:
            self._floor = answer.delivery_tag

    def _settle_one(self, parcel: _Parcel, *, confirmed: bool) -> None:
        if not parcel.returned:
            self._end(parcel, confirmed=confirmed)
        elif parcel.resent or parcel.batch.deadline < time.monotonic():
            self._end(parcel, confirmed=False)
        else:
            parcel.returned, parcel.resent = False, True
            self._send(parcel)

    def _returned(self, properties: Any) -> None:
        """There is no such queue any more: its confirm, which follows, sends the message once again."""
        parcel = self._unconfirmed.get(int(properties.message_id))
        if parcel is not None:
            parcel.returned = True
            self._declared.discard(parcel.queue)
            log.warning("rabbitmq.unroutable", queue=parcel.queue)

    def _hold(self, parcel: _Parcel) -> None:
        """Keeps the message until its queue is declared."""
        held = self._undeclared.get(parcel.queue)
        if held is not None:
            held.append(parcel)
            return
        self._undeclared[parcel.queue] = [parcel]
        declared: Future[Any] = Future()
        declared.add_done_callback(lambda done: self._released(parcel.queue, done.exception()))
        self._ask(lambda channel, answer: self._declare(parcel.queue, channel, answer), declared)

    def _declare(self, queue: str, channel: Any, answer: Callable[[Any], None]) -> None:
        *before, (last, arguments) = self._declarations(queue).items()
        for name, needed in before:
            channel.queue_declare(name, durable=True, arguments=needed, callback=lambda _frame: None)
        channel.queue_declare(last, durable=True, arguments=arguments, callback=answer)

    def _released(self, queue: str, error: BaseException | None) -> None:
        held = self._undeclared.pop(queue, [])
        refused = isinstance(error, ChannelClosedByBroker) and error.reply_code == PRECONDITION_FAILED
        if refused:
            log.error("rabbitmq.queue_differs", queue=queue, reason=str(error), remedy="raise queue_version")
        if error is None or refused:  # a queue that differs takes messages, too
            self._declared.add(queue)
        elif held:
            log.warning("rabbitmq.not_declared", queue=queue, reason=repr(error))
        for parcel in held:
            if error is None or refused:
                self._send(parcel)
            else:
                self._end(parcel, confirmed=False)

    def _ask(self, request: Callable[[Any, Callable[[Any], None]], None], future: "Future[Any]") -> None:
        if self._connection is None or not self._connection.is_open:
            future.set_exception(ConnectionError("RabbitMQ is away"))
            return

        def answer(frame: Any) -> None:
            channel.close()
            if not future.done():
                future.set_result(frame)

        def closed(_channel: Any, reason: BaseException) -> None:
            if not future.done():
                future.set_exception(reason)

        channel = self._connection.channel(on_open_callback=lambda opened: request(opened, answer))
        channel.add_on_close_callback(closed)
