"""Where a line's units come from: strategies by name. Pure.

A line is never split: a strategy is handed the locations that have all of its units, and names one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Offer:
    """A location that has all units of a line, and how many it has left."""

    location: str
    left: int


class Strategy(Protocol):
    """Chooses among locations."""

    def __call__(self, sku: str, units: int, offers: Sequence[Offer]) -> str:
        """The location of one of the offers, of which there is at least one, in the order of priority."""


STRATEGIES: dict[str, Strategy] = {}


def strategy(name: str) -> Callable[[Strategy], Strategy]:
    """Registers a strategy under the name that `STOCKYARD_INVENTORY_ALLOCATION` can have."""

    def register(chosen: Strategy) -> Strategy:
        STRATEGIES[name] = chosen
        return chosen

    return register


def strategy_named(name: str) -> Strategy:
    """Raises ValueError, which lists those that there are."""
    if name not in STRATEGIES:
        msg = f"there is no allocation strategy {name!r}; there are {', '.join(sorted(STRATEGIES))}"
        raise ValueError(msg)
    return STRATEGIES[name]


@strategy("by_priority")
def by_priority(sku: str, units: int, offers: Sequence[Offer]) -> str:
    """The first by the locations' priority."""
    del sku, units
    return offers[0].location


@strategy("most_left")
def most_left(sku: str, units: int, offers: Sequence[Offer]) -> str:
    """The one with the most units, so that shelves empty evenly; the first by priority of equal ones."""
    del sku, units
    return max(offers, key=lambda offer: offer.left).location
