"""Several worker processes on one socket: started, replaced when they die or on demand, stopped together."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from domain.lifeline import lifeline
from domain.observe import logger
from domain.signals import Flag

log = logger(__name__)

#: Seconds between two looks at the workers; also the least time between two starts of a worker.
LOOK = 0.2
#: What a worker answers that could not open its services.
NO_START = 1
#: Seconds in which a worker has to be ready that is to replace another.
READY_WITHIN = 60.0
#: What a worker is.
PROGRAM = (sys.executable, "-m", "api")


@dataclass(eq=False, slots=True)
class Worker:
    """One `python -m api --fd N`, and the pipe by which it says that it serves."""

    process: subprocess.Popen[bytes]
    told: int
    born: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, listener: int, lifeline: int, *, program: Sequence[str] = PROGRAM) -> Self:
        """Returns at once."""
        reading, writing = os.pipe()
        command = [*program, "--fd", str(listener), "--lifeline", str(lifeline), "--ready", str(writing)]
        try:
            passed = [listener, lifeline, writing]
            return cls(subprocess.Popen(command, pass_fds=passed), reading)  # noqa: S603 - ourselves
        finally:
            os.close(writing)

    def ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def ready(self) -> bool:
        """Whether it has said that it serves."""
        readable, _, _ = select.select([self.told], [], [], 0)
        # One that dies closes the pipe, and has said nothing.
        return bool(readable) and os.read(self.told, 1) == b"1"

    def forget(self) -> None:
        """Waits for its end, and closes the pipe."""
        self.process.wait()
        os.close(self.told)


class Crew:
    """So many workers, of whom each can be replaced by one that serves already."""

    def __init__(self, start: Callable[[], Worker], *, workers: int) -> None:
        self._start = start
        self._running = [self._start() for _ in range(workers)]
        #: Those of the first that have not said yet that they serve.
        self._first = set(self._running)
        #: Workers that are to be replaced, one after another.
        self._outdated: list[Worker] = []
        #: The one that gets ready to replace the first of them, and those that finish what they have begun.
        self._fresh: Worker | None = None
        self._leaving: list[Worker] = []

    def replace_all(self) -> None:
        """Begins a rolling restart: of all that run now. Asked for in the middle of one, it begins anew."""
        self._outdated = list(self._running)
        if self._fresh is not None:
            # It has begun with what was there before.
            fresh, self._fresh = self._fresh, None
            self._dismiss(fresh)
        log.info("api.rolling_restart", workers=len(self._outdated))

    def look(self) -> bool:
        """One round. False where one of the first workers could not open its services."""
        self._leaving = [worker for worker in self._leaving if not self._gone(worker)]
        self._first = {worker for worker in self._first if not worker.ready()}
        for place, worker in enumerate(self._running):
            if not worker.ended():
                continue
            if worker in self._first and worker.process.returncode == NO_START:
                return False
            log.error("api.worker_died", pid=worker.process.pid, code=worker.process.returncode)
            worker.forget()
            self._running[place] = self._start()
        self._outdated = [worker for worker in self._outdated if worker in self._running]
        self._roll()
        return True

    def end(self) -> None:
        """Stops all, and waits for them."""
        everybody = [*self._running, *self._leaving, *([self._fresh] if self._fresh else [])]
        for worker in everybody:
            worker.process.terminate()
        for worker in everybody:
            worker.forget()

    def _roll(self) -> None:
        """One step of a rolling restart: the old one is told to stop once the new one serves."""
        fresh = self._fresh
        if fresh is None:
            if self._outdated and not self._leaving:
                self._fresh = self._start()
            return
        if not self._outdated:
            # Whom it was to replace has died, and was replaced.
            self._fresh = None
            self._dismiss(fresh)
        elif fresh.ready():
            self._fresh = None
            old = self._outdated.pop(0)
            self._running[self._running.index(old)] = fresh
            self._dismiss(old)
            log.info("api.worker_replaced", old=old.process.pid, new=fresh.process.pid)
        elif fresh.ended() or time.monotonic() - fresh.born > READY_WITHIN:
            # What serves now goes on.
            log.error("api.rolling_restart_failed", code=fresh.process.poll(), left=len(self._outdated))
            self._fresh = None
            self._outdated.clear()
            self._dismiss(fresh)

    def _dismiss(self, worker: Worker) -> None:
        worker.process.terminate()
        self._leaving.append(worker)

    @staticmethod
    def _gone(worker: Worker) -> bool:
        if not worker.ended():
            return False
        worker.forget()
        return True


def supervise(listener: socket.socket, *, workers: int) -> int:
    """Runs so many workers until SIGTERM or SIGINT. The exit code.

    A worker that dies is replaced. SIGHUP replaces all, one after another: each stops once the one in its
    place serves, and new code and a new `.env` are read. Where a new one does not start, the old ones go on.
    1 where one of the first could not open its services; 0 after a stop.
    """
    stop, again = Flag(), Flag()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not (sys.stdin and sys.stdin.isatty()):
        # Where there is a terminal, it says that the terminal is gone.
        signal.signal(signal.SIGHUP, lambda *_: again.set())
    with lifeline() as reading:
        crew = Crew(partial(Worker.start, listener.fileno(), reading), workers=workers)
        code = 0
        while not stop.wait(LOOK):
            if again.is_set():
                again.clear()
                crew.replace_all()
            if not crew.look():
                code = NO_START
                break
        listener.close()
        crew.end()
    return code
