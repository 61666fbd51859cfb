"""The arithmetic of worker pools: rates, capacity, drain time, and how many workers to run. Pure.

`docs/scaling.md` explains the formulas and has the worked cases that the tests check.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

#: Upper bounds, in seconds, of the classes that run times are counted in; one more class is above the last.
BOUNDS: tuple[float, ...] = tuple(0.005 * (1 << power) for power in range(19))
#: The share of its capacity that arrivals may take of a pool: past it, waits grow out of proportion.
HEADROOM = 0.8
#: How far what a pool does is carried beyond what was seen of it: an idle worker tells little of a busy one.
FURTHEST = 4.0
#: Jobs that a window has to have ended before its rate is believed; a longer window is asked else.
ENOUGH = 20
#: Half of what a pool ends, at least, comes from batches: then batches are what its workers are busy with.
MOSTLY = 0.5
#: The greatest number of workers that is ever recommended.
MOST_WORKERS = 1000


@dataclass(frozen=True, slots=True)
class Flow:
    """What all processes of a pool counted in a window of `seconds`."""

    seconds: float
    arrived: float = 0
    #: Jobs that ended by a run: succeeded, failed or dead.
    done: float = 0
    #: Those of them that were refused: `failed`.
    refused: float = 0
    #: Runs that ended in a fault: retried or dead.
    faults: float = 0
    runs: float = 0
    run_seconds: float = 0
    #: Runs by class of `BOUNDS`.
    spread: tuple[float, ...] = field(default=(0.0,) * (len(BOUNDS) + 1))
    #: Seconds that threads had a job, that threads were there, and that processes were there.
    busy_seconds: float = 0
    thread_seconds: float = 0
    worker_seconds: float = 0
    #: Batches: how many, their jobs, their seconds, and the sums that a straight line needs.
    batches: float = 0
    batched: float = 0
    batch_seconds: float = 0
    batch_squares: float = 0
    batch_products: float = 0

    @classmethod
    def of(cls, counts: Iterable[Mapping[str, float]], *, seconds: float) -> "Flow":
        """The sum of what was counted, by the names that `Meter` counts under."""
        total: dict[str, float] = {}
        for each in counts:
            for name, value in each.items():
                total[name] = total.get(name, 0.0) + value
        spread = tuple(total.pop(class_name(index), 0.0) for index in range(len(BOUNDS) + 1))
        known = {name: value for name, value in total.items() if name in COUNTED}
        return cls(seconds=seconds, spread=spread, **known)

    def per_second(self, count: float) -> float:
        """A count of the window as a rate."""
        return count / self.seconds if self.seconds else 0.0

    @property
    def mean_run(self) -> float | None:
        """Seconds of a run; None where none was seen."""
        return self.run_seconds / self.runs if self.runs else None

    @property
    def busy(self) -> float | None:
        """The share of its time that the pool works at what bounds it; None where no worker was there.

        Batches of a process take turns, so a batched pool is as busy as its batches; any other is as busy as
        its threads.
        """
        if not self.worker_seconds or not self.thread_seconds:
            return None
        share: float = self.busy_seconds / self.thread_seconds
        if self.is_batched:
            share = self.batch_seconds / self.worker_seconds
        return min(1.0, share)

    @property
    def is_batched(self) -> bool:
        """Whether most of what ended did so in batches."""
        return self.batched > 0 and self.batched >= MOSTLY * self.done


#: The names of a flow's sums, but for the classes of run times.
COUNTED = frozenset(Flow.__dataclass_fields__) - {"seconds", "spread"}


def class_name(index: int) -> str:
    """What runs of the class with that index are counted as."""
    return f"class_{index}"


def class_of(seconds: float) -> str:
    """What a run of so many seconds is counted as."""
    return class_name(bisect_left(BOUNDS, seconds))


def quantile(spread: Sequence[float], share: float) -> float | None:
    """The run time that `share` of the runs do not pass; None without runs.

    Within a class runs are taken to be spread evenly, as Prometheus does. What lies above the last bound is
    told as that bound.
    """
    total = sum(spread)
    if not total:
        return None
    wanted, below = share * total, 0.0
    for index, count in enumerate(spread[:-1]):
        if count and below + count >= wanted:
            floor = BOUNDS[index - 1] if index else 0.0
            return floor + (BOUNDS[index] - floor) * (wanted - below) / count
        below += count
    return BOUNDS[-1]


def batch_line(flow: Flow) -> tuple[float, float] | None:
    """Seconds of a batch as a straight line over its size: (fixed part, part per job), by least squares.

    None where the sizes were too much alike to tell the two parts, or the line makes no sense.
    """
    count, jobs = flow.batches, flow.batched
    spread = count * flow.batch_squares - jobs * jobs
    # Sizes that vary by less than a tenth of their mean tell nothing.
    if count < ENOUGH or spread <= 0.01 * jobs * jobs:
        return None
    slope = (count * flow.batch_products - jobs * flow.batch_seconds) / spread
    fixed = (flow.batch_seconds - slope * jobs) / count
    return (fixed, slope) if fixed >= 0 and slope > 0 else None


def worker_rate(flow: Flow, *, largest_batch: int) -> float | None:
    """Jobs a second that one worker does when it never has to wait; None where nothing was seen.

    What it did, over the share of its time that it was busy (Little's law: that is its threads over the mean
    run time). A batched pool does more of it as its batches grow: the line of `batch_line` says how much
    more. Neither is believed further than `FURTHEST` times what was seen.
    """
    busy = flow.busy
    if not flow.done or not busy:
        return None
    seen = flow.done / flow.worker_seconds
    growth = 1.0
    line = batch_line(flow) if flow.is_batched else None
    if line is not None:
        size = flow.batched / flow.batches
        larger = max(size, float(largest_batch))
        growth = (larger / (line[0] + line[1] * larger)) / (size / (line[0] + line[1] * size))
    return seen * min(FURTHEST, growth / busy)


def believed(flows: Sequence[Flow]) -> Flow:
    """The first of the windows, shortest first, that saw enough; else the last that saw anything."""
    for flow in flows:
        if flow.done >= ENOUGH and flow.worker_seconds:
            return flow
    return next((flow for flow in reversed(flows) if flow.done and flow.worker_seconds), flows[-1])


def drain_seconds(*, depth: float, arrivals: float, rate: float) -> float | None:
    """Seconds until nothing waits, with arrivals going on; None where that never comes."""
    if depth <= 0:
        return 0.0
    return depth / (rate - arrivals) if rate > arrivals else None


def workers_for(
    *, depth: float, arrivals: float, per_worker: float, target: timedelta, oldest: float = 0.0
) -> int:
    """Workers that drain `depth` within the target, arrivals going on, and keep up with those at leisure.

    What has waited already counts: the older the oldest job, the less of the target is left, down to a
    quarter.
    """
    left = max(target.total_seconds() - oldest, target.total_seconds() / 4)
    wanted = max(arrivals / HEADROOM, arrivals + depth / left)
    return min(MOST_WORKERS, math.ceil(wanted / per_worker - 1e-9))
