"""Ctrl-C and its relatives, for commands that have to clean up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What asks a command to end.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How a shell reports the end by Ctrl-C.
INTERRUPTED = 130


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end the process as Ctrl-C does: by KeyboardInterrupt, or asyncio's cancellation.

    A shell starts background jobs of a script with SIGINT ignored, which would make the others do nothing.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    signal.signal(signal.SIGHUP, _as_ctrl_c)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Nothing but SIGKILL ends what is done in it: cleaning up, in bounded time."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)
