"""What a signal tells a process whose main thread waits for it."""

from contextlib import suppress
from queue import Empty, SimpleQueue


class Flag:
    """Raised by a signal's handler, waited for by one thread: `threading.Event` is for other threads only.

    A handler runs between any two steps of the main thread. One that comes within an event's own `wait` stops
    for ever at the event's lock, which that very thread holds; `SimpleQueue.put` is made for this place.
    """

    def __init__(self) -> None:
        self._raised = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Idempotent; the only thing that a handler may do with it besides `is_set`."""
        self._raised = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """Whether it was raised, and not cleared since."""
        return self._raised

    def clear(self) -> None:
        """Lowers it again."""
        self._raised = False
        # Else what was told before would end a wait of later.
        while not self._wake.empty():
            self._wake.get()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is raised, at latest after so many seconds; without a time, once it is."""
        if not self._raised:
            with suppress(Empty):
                self._wake.get(timeout=timeout)
        return self._raised
