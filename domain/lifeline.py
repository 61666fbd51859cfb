"""A process that does not outlive the one that started it, however that one ends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lifeline() -> Iterator[int]:
    """A pipe that nobody writes to, and whose writing end is nowhere but here. Yields the reading end.

    Children that inherit it see the end of this process, be it by SIGKILL.
    """
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def stop_with_parent(reading: int) -> None:
    """SIGTERM to this process once nobody holds the other end of the pipe `reading`."""

    def wait() -> None:
        os.read(reading, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
