"""Several worker processes on one socket: started, replaced when they die, stopped together."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from domain.observe import logger

log = logger(__name__)

#: Seconds between two looks at the workers; also the least time between two starts of a worker.
LOOK = 0.2
#: What a worker answers that could not open its services.
NO_START = 1


def supervise(listener: socket.socket, *, workers: int) -> int:
    """Runs `python -m api --fd N` so many times until SIGTERM or SIGINT. The exit code.

    A worker that dies is replaced. 1 where one of the first could not open its services; 0 after a stop.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _pipe() as (reading, _):
        running = [_start(listener, reading) for _ in range(workers)]
        first = set(running)
        code = 0
        while not stop.wait(LOOK):
            for place, worker in enumerate(running):
                if worker.poll() is None:
                    continue
                if worker in first and worker.returncode == NO_START:
                    code = 1
                    stop.set()
                    break
                log.error("api.worker_died", pid=worker.pid, code=worker.returncode)
                running[place] = _start(listener, reading)
        listener.close()
        _end(running)
    return code


def stop_with_parent(lifeline: int) -> None:
    """Stops this process once no other holds the writing end of the pipe `lifeline`."""

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _start(listener: socket.socket, lifeline: int) -> subprocess.Popen[bytes]:
    number = listener.fileno()
    command = [sys.executable, "-m", "api", "--fd", str(number), "--lifeline", str(lifeline)]
    return subprocess.Popen(command, pass_fds=[number, lifeline])  # noqa: S603 - ourselves


def _end(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose writing end is nowhere but here: its readers see the end of this process."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)
