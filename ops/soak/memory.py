"""Memory over time: sampled beside the load, and judged at the end."""

import statistics
from collections.abc import Sequence
from typing import Any

from ops.bench import watch
from ops.fleet import Member
from ops.soak.background import Repeated

#: Seconds between two samples.
EVERY = 2.0
#: The most that a process may have, and the most by which it may grow from the middle to the end, in MB.
MOST, GROWTH = 150.0, 10.0


class Memory(Repeated):
    """Samples the resident memory of processes while it is open."""

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(every=EVERY)
        self._members = members
        #: MB, by process.
        self._samples: dict[str, list[float]] = {}

    def verdict(self) -> tuple[dict[str, Any], list[str]]:
        """First, middle, last and highest of each process, and what is wrong with them."""
        told, wrong = {}, []
        for name, samples in self._samples.items():
            told[name] = summary = summarise(samples)
            wrong += [f"{name}: {problem}" for problem in problems(summary)]
        return told, wrong

    def _look(self) -> None:
        for member in self._members:
            for mb in watch.rss_mb([member.pid]):
                self._samples.setdefault(member.name, []).append(mb)


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
