"""The life of one worker process: open, consume, stop."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import Any, Generic, TypeAlias, TypeVar

import structlog
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread

from domain import garbage
from domain.probe import probing
from domain.settings import Settings
from domain.signals import Flag
from workers.broker import StockyardBroker, StockyardWorker, make_broker, pools_by_queue
from workers.control import consumers_alive, drain, loop_alive, not_consuming

log = structlog.get_logger(__name__)

Services = TypeVar("Services")

#: Seconds between two looks of a waiting worker thread at what may interrupt it; nothing here does.
INTERRUPT_CHECK = 5.0
#: Seconds between two looks at whether the process was asked to stop before its services were open.
OPENING_CHECK = 0.1
#: Seconds in which what is left on the event loop lets itself be ended.
LEFT_OVER = 2.0
#: How a shell reports the end by a signal.
KILLED = 128


#: Entered once there are services and a worker that has not started; yields something that is not None.
Attend: TypeAlias = Callable[[Services, StockyardWorker], AbstractAsyncContextManager[Any]]


def _alone(_services: object, _worker: StockyardWorker) -> AbstractAsyncContextManager[Any]:
    """Nobody is told of the process."""
    return nullcontext(enter_result=True)


class Opened(Generic[Services]):
    """Services that one task on the event loop opens, keeps, and closes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, services: AbstractAsyncContextManager[Services]
    ) -> None:
        self._loop = loop
        self._close = asyncio.Event()
        self._ready: Future[Services] = Future()
        self._ended = asyncio.run_coroutine_threadsafe(self._hold(services), loop)

    def get(self, *, give_up: Flag) -> Services | None:
        """The services; None if told to give up before. Raises what their opening raised."""
        while not give_up.is_set():
            both: list[Future[Any]] = [self._ready, self._ended]
            wait(both, timeout=OPENING_CHECK, return_when=FIRST_COMPLETED)
            if self._ready.done():
                return self._ready.result()
            if self._ended.done():
                self._ended.result()
        self._ended.cancel()
        return None

    def close(self) -> None:
        """Idempotent; raises what the closing raised."""
        if not self._ended.done():
            self._loop.call_soon_threadsafe(self._close.set)
        self._ended.result()

    async def _hold(self, services: AbstractAsyncContextManager[Services]) -> None:
        async with services as opened:
            self._ready.set_result(opened)
            await self._close.wait()


def run(
    settings: Settings,
    pools: Sequence[str],
    *,
    open_services: Callable[[Settings], AbstractAsyncContextManager[Services]],
    register: Callable[[StockyardBroker, Services], None],
    attend: Attend[Services] = _alone,
) -> int:
    """Works until SIGTERM or SIGINT, then finishes what is in hand. The exit code.

    `attend` is entered before the first message is taken, and left after the last one.

    0 after a clean stop; 1 when services could not be opened (no actor has run then) or when the stop took
    longer than its setting. A second signal ends the process at once.
    """
    stop = _stop_on_signals()
    with _event_loop() as loop:
        opened = Opened(loop, open_services(settings))
        try:
            services = opened.get(give_up=stop)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing to work with
            log.error("the services cannot be opened", reason=str(error) or repr(error))  # noqa: TRY400 - one clear line
            return 1
        if services is None:
            return 0
        broker = make_broker(settings.rabbitmq)
        register(broker, services)
        queues = pools_by_queue(pools, settings.rabbitmq)
        worker = StockyardWorker(broker, queues, threads=settings.workers.threads)
        silence = settings.workers.probe_silence.total_seconds()

        def problems() -> list[str]:
            return consumers_alive(worker, silence=silence) + loop_alive(loop)

        attending = Opened(loop, attend(services, worker))
        if attending.get(give_up=stop) is None:
            opened.close()
            return 0
        with probing(settings.workers, problems=problems, unready=partial(not_consuming, worker)):
            worker.start()
            garbage.freeze()
            log.info("worker started", pools=list(pools), threads=settings.workers.threads)
            stop.wait()
            _finish(worker, [attending, opened], seconds=settings.workers.shutdown_timeout.total_seconds())
    log.info("worker stopped", pools=list(pools))
    return 0


def _finish(worker: StockyardWorker, opened: Sequence[Opened[Any]], *, seconds: float) -> None:
    broker = worker.broker
    log.info("worker stopping", running=len(broker.endings.running), seconds=seconds)
    deadline = threading.Timer(seconds, _too_late, [broker])
    deadline.daemon = True
    deadline.start()
    drain(worker)
    worker.stop(timeout=int(seconds * 1000))
    broker.close()
    for each in opened:
        each.close()
    deadline.cancel()


def _too_late(broker: StockyardBroker) -> None:
    running = [f"{job.kind} {job.id}" for job in list(broker.endings.running.values())]
    log.error("the stop took too long", still_running=running)
    _exit_now(1)


def _exit_now(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        # A signal may have come in the middle of a write, which then cannot be finished.
        with suppress(RuntimeError):
            stream.flush()
    os._exit(code)


def _stop_on_signals() -> Flag:
    stop = Flag()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _exit_now(KILLED + number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


async def _end_others() -> None:
    """Ends what still runs, as `asyncio.run` does: else each such task complains when the loop is gone."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    ended = asyncio.gather(*others, return_exceptions=True)
    await asyncio.wait([ended], timeout=LEFT_OVER / 2)


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop that all async actors of the process run on."""
    thread = EventLoopThread(logging.getLogger(__name__), interrupt_check_ival=INTERRUPT_CHECK)
    thread.daemon = True
    thread.start()
    set_event_loop_thread(thread)
    try:
        yield thread.loop
    finally:
        set_event_loop_thread(None)
        asyncio.run_coroutine_threadsafe(_end_others(), thread.loop).result(LEFT_OVER)
        thread.stop()  # type: ignore[no-untyped-call]
