"""What a signal tells a process whose main thread waits for it."""

from contextlib import suppress
from queue import Empty, SimpleQueue

#: Seconds after which a wait without a time looks again. A signal that comes just before the thread blocks
#: does not wake it, and its handler runs once the thread is awake.
LOOK = 0.2


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
        while not self._raised:
            with suppress(Empty):
                self._wake.get(timeout=LOOK if timeout is None else timeout)
            if timeout is not None:
                break
        return self._raised
