"""Figures: what rounds measured, told as a median with its spread. Pure."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Figure":
        """The median with the lowest and the highest value. Raises StatisticsError without any."""
        found = sorted(values)
        return cls(median=statistics.median(found), low=found[0], high=found[-1])


@dataclass(slots=True)
class Figures:
    """Values by name, one per round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One round's value."""
        self.values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> Figure:
        return Figure.of(self.values[name])

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def ratio(self, one: str, other: str) -> float | None:
        """Median to median; None where one of them was not measured, or is nothing."""
        if one not in self or other not in self or not self[other].median:
            return None
        return self[one].median / self[other].median

    def medians(self) -> dict[str, float]:
        """Every figure's median."""
        return {name: tidy(self[name].median) for name in self.values}

    def spreads(self) -> dict[str, tuple[float, float]]:
        """Every figure's lowest and highest value."""
        return {name: (tidy(self[name].low), tidy(self[name].high)) for name in self.values}


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not pass (nearest rank); 0 without values."""
    if not values:
        return 0.0
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def tidy(value: float) -> float:
    """Four significant digits at most, and no decimals from 1,000 on."""
    if value == 0:
        return 0.0
    return float(round(value, max(0, 3 - math.floor(math.log10(abs(value))))))


def mean_of_histogram(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """The mean of what a Prometheus histogram counted between two looks (`sum`, `count`); 0 for nothing."""
    count = after.get("count", 0.0) - before.get("count", 0.0)
    return (after.get("sum", 0.0) - before.get("sum", 0.0)) / count if count else 0.0
