"""Memory over time: sampled beside the load, and judged at the end."""

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ops.bench import watch
from ops.fleet import Member

#: Seconds between two samples.
EVERY = 2.0
#: The most that a process may have, and the most by which it may grow from the middle to the end, in MB.
MOST, GROWTH = 150.0, 10.0


@dataclass(slots=True)
class Memory(AbstractContextManager["Memory"]):
    """Samples the resident memory of processes while it is open."""

    members: Sequence[Member]
    #: (seconds since the start, MB) by process.
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begins."""
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def verdict(self) -> tuple[dict[str, Any], list[str]]:
        """First, middle, last and highest of each process, and what is wrong with them."""
        told, wrong = {}, []
        for name, samples in self.samples.items():
            told[name] = summary = summarise([mb for _, mb in samples])
            wrong += [f"{name}: {problem}" for problem in problems(summary)]
        return told, wrong

    def _sample(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(EVERY):
            for member in self.members:
                for mb in watch.rss_mb([member.pid]):
                    at = round(time.monotonic() - began, 1)
                    self.samples.setdefault(member.name, []).append((at, mb))


def summarise(values: Sequence[float]) -> dict[str, float]:
    """The first value, the medians of the middle and of the last fifth, and the highest; in MB."""
    fifth = max(1, len(values) // 5)
    middle = values[2 * fifth : 3 * fifth] or values
    return {
        "first": values[0],
        "middle": round(statistics.median(middle), 1),
        "last": round(statistics.median(values[-fifth:]), 1),
        "highest": max(values),
    }


def problems(summary: dict[str, float]) -> list[str]:
    """Why the memory is not steady; nothing where it is."""
    found = []
    if summary["highest"] >= MOST:
        found.append(f"{summary['highest']:.0f} MB, at most {MOST:.0f} are right")
    if summary["last"] - summary["middle"] > GROWTH:
        found.append(f"grew from {summary['middle']:.0f} MB in the middle to {summary['last']:.0f} MB")
    return found
