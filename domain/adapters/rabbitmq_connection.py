"""A connection to RabbitMQ on a thread of its own, opened again for as long as it takes."""

import contextlib
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Generic, Protocol, TypeVar

import pika
import structlog
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError

from domain.adapters.rabbitmq_queues import in_words

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

#: Seconds before the first reconnect, and at most. Doubles each round, with jitter.
BACKOFF = 0.1
MAX_BACKOFF = 5.0
#: Seconds between two calls of `User.overdue`.
WATCH_EVERY = 1.0


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


class User(Protocol):
    """Who publishes on the link's channel; called on the link's thread."""

    def up(self, channel: Any) -> Callable[[Any], None]:
        """There is a new channel. Answers what takes its confirms."""

    def down(self) -> None:
        """The channel is gone; its confirms will not come."""

    def overdue(self) -> bool:
        """Whether a confirm has been missing for so long that the connection is to be given up."""


class Link:
    """Keeps one connection with one channel in confirm mode.

    `connected`, `start`, `stop`, `wake` and `ask` are for any thread; all else is for the link's own.
    """

    def __init__(self, parameters: Sequence[pika.URLParameters], user: User) -> None:
        #: Whether a message that is published now has a chance.
        self.connected = False
        #: Done when the first connection is open, or no address could be reached.
        self.tried: Future[None] = Future()
        #: Why there is no connection, in words; None while there is one, and before the first attempt.
        self.trouble: str | None = None
        #: The channel in confirm mode, or None.
        self.channel: Any = None
        self._parameters = parameters
        self._user = user
        self._ioloop = IOLoop()
        self._thread = threading.Thread(target=self._run, name="rabbitmq-publisher", daemon=True)
        self._connection: Any = None
        self._attempts = 0
        self._up_since = math.inf
        self._closing = False

    def start(self) -> None:
        """Connects, and keeps connecting."""
        self.wake(self._connect)
        self.wake(self._watch)
        self._thread.start()

    def stop(self, *, seconds: float = 5.0) -> None:
        """Closes the connection and ends the thread."""
        self.wake(self._close)
        self._thread.join(seconds)

    def wake(self, call: Callable[[], None]) -> None:
        """Runs the function on the link's thread."""
        self._ioloop.add_callback_threadsafe(call)

    def ask(self, request: Callable[[Any, Callable[[Any], None]], None]) -> "Future[Any]":
        """Runs `request(channel, answer)` on a channel of its own, as an error closes the channel.

        The future has what `answer` was called with, or the reason why the channel closed before.
        """
        future: Future[Any] = Future()
        self.wake(lambda: self._ask(request, future))
        return future

    def _run(self) -> None:
        while not self._closing:
            try:
                self._ioloop.start()
            except Exception as error:  # a fault of ours must not end publishing for good
                if not self._closing:  # pika asserts in vain on the end of one that is not open yet
                    log.exception("the publisher failed and connects anew")
                self._lost(self._connection, error)
        self._ioloop.close()

    def _connect(self) -> None:
        if not self._closing:
            self._connection = _Connection(
                self._parameters[self._attempts % len(self._parameters)],
                on_open_callback=self._opened,
                on_open_error_callback=self._lost,
                on_close_callback=self._lost,
                custom_ioloop=self._ioloop,
            )

    def _opened(self, connection: Any) -> None:
        if connection is self._connection:
            connection.add_on_connection_blocked_callback(lambda *_: self._blocked(connection, blocked=True))
            connection.add_on_connection_unblocked_callback(
                lambda *_: self._blocked(connection, blocked=False)
            )
            connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.confirm_delivery(self._user.up(channel), callback=lambda _frame: self._ready(channel))

    def _channel_closed(self, channel: Any, reason: BaseException) -> None:
        if not self._closing:
            self._lost(channel.connection, reason)

    def _ready(self, channel: Any) -> None:
        if channel.connection is not self._connection:
            return
        self.channel = channel
        self.connected, self.trouble = True, None
        self._up_since = time.monotonic()
        self._report_try()
        at = channel.connection.params
        log.info("connected to RabbitMQ", host=at.host, port=at.port)

    def _blocked(self, connection: Any, *, blocked: bool) -> None:
        if connection is self._connection:
            self.connected = not blocked and self.channel is not None
            log.warning("RabbitMQ takes no messages" if blocked else "RabbitMQ takes messages again")

    def _lost(self, connection: Any, reason: BaseException) -> None:
        """The connection, its opening or its channel ended; pika tells of the same end more than once."""
        if connection is not self._connection:
            return
        self.connected = False
        self._connection = self.channel = None
        self.trouble = in_words(reason)
        self._user.down()
        if self._closing:
            self._ioloop.stop()
            return
        with contextlib.suppress(AMQPError):
            if connection is not None and connection.is_open:
                connection.close()
        pause = self._pause()
        log.warning("RabbitMQ is away", reason=repr(reason), retry_in=round(pause, 2))
        self._report_try()
        self._ioloop.call_later(pause, self._connect)

    def _pause(self) -> float:
        """Seconds before the next attempt: more with each round of all addresses that did not last."""
        if time.monotonic() - self._up_since > MAX_BACKOFF:
            self._attempts = 0
        self._up_since = math.inf
        self._attempts += 1
        rounds = self._attempts // len(self._parameters)
        return float(min(MAX_BACKOFF, BACKOFF * 2 ** min(rounds, 10)) * random.uniform(0.5, 1))

    def _report_try(self) -> None:
        if self.connected or self._attempts >= len(self._parameters):
            with contextlib.suppress(InvalidStateError):
                self.tried.set_result(None)

    def _watch(self) -> None:
        """A connection may look alive and confirm nothing, as when a queue has lost its majority."""
        if self.channel is not None and self._user.overdue():
            self._lost(self._connection, TimeoutError("confirms do not come"))
        self._ioloop.call_later(WATCH_EVERY, self._watch)

    def _close(self) -> None:
        self._closing = True
        self.connected = False
        if self._connection is None or self._connection.is_closing:
            self._user.down()
            self._ioloop.stop()
        else:
            self._connection.close()

    def _ask(self, request: Callable[[Any, Callable[[Any], None]], None], future: "Future[Any]") -> None:
        def answer(frame: Any) -> None:
            with contextlib.suppress(InvalidStateError):  # whoever asked may have given up
                future.set_result(frame)
            channel.close()

        def closed(_channel: Any, reason: BaseException) -> None:
            with contextlib.suppress(InvalidStateError):
                future.set_exception(reason)

        if self._connection is None or not self._connection.is_open:
            closed(None, ConnectionError("RabbitMQ is away"))
            return
        channel = self._connection.channel(on_open_callback=lambda opened: request(opened, answer))
        channel.add_on_close_callback(closed)


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
