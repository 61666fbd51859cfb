"""Folders for one picture each, gone once it is done, also where a worker was killed over it."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "stockyard-media-"
#: Seconds after which a folder is nobody's: no run of a job takes so long.
_LEFT = 3600.0


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that nobody else can read."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class Sweeps:
    """Deletes what killed workers have left, with the first picture of a process and each hour after that."""

    def __init__(self) -> None:
        self._due = 0.0

    def run(self) -> None:
        """Does nothing until it is time."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _LEFT
            sweep()


def sweep() -> int:
    """Deletes what killed workers have left on this machine; answers how many folders."""
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT:
                shutil.rmtree(folder)
                swept += 1
    return swept
