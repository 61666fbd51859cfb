"""What stock allows. Pure: handed what was read, it says what to write."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HELD = "held"
COMMITTED = "committed"
RELEASED = "released"

#: The location that exists from the start.
DEFAULT_LOCATION = "main"

#: Why a hold ended.
PAID, EXPIRED, CANCELLED, GIVEN_BACK = "paid", "expired", "cancelled", "given_back"


def stock_id(sku: str, location: str = DEFAULT_LOCATION) -> str:
    """The id of the stock of a SKU at a location."""
    return f"{location}:{sku}"


def lock_key(sku: str) -> str:
    """The lock that saves two batches from competing for a SKU."""
    return f"lock:sku:{sku}"


@dataclass(frozen=True, slots=True)
class Shortage:
    """More units wanted of a SKU than are available."""

    sku: str
    wanted: int
    available: int

    def as_detail(self) -> dict[str, Any]:
        """For an error's detail."""
        return {"sku": self.sku, "wanted": self.wanted, "available": self.available}


@dataclass(slots=True)
class Shelf:
    """The stock that one batch sees: what was available, and what the batch has taken of it so far."""

    available: Mapping[str, int]
    taken: Counter[str] = field(default_factory=Counter)

    def short(self, wanted: Mapping[str, int]) -> list[Shortage]:
        """What is missing for `wanted` (units by SKU); nothing when it fits."""
        left = {sku: self.available.get(stock_id(sku), 0) - self.taken[stock_id(sku)] for sku in wanted}
        return [Shortage(sku, units, left[sku]) for sku, units in sorted(wanted.items()) if units > left[sku]]

    def take(self, wanted: Mapping[str, int]) -> None:
        """Takes what `short` said fits."""
        for sku, units in wanted.items():
            self.taken[stock_id(sku)] += units


def by_quantity(units: Mapping[str, int]) -> dict[int, list[str]]:
    """Stock ids grouped by how many units of each: one update serves a whole group."""
    groups: dict[int, list[str]] = defaultdict(list)
    for each, quantity in sorted(units.items()):
        if quantity:
            groups[quantity].append(each)
    return dict(groups)


def held_units(holds: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Units by stock id over the lines of holds."""
    total: Counter[str] = Counter()
    for hold in holds:
        for line in hold["lines"]:
            total[line["stock_id"]] += line["quantity"]
    return total


def hold_lines(wanted: Mapping[str, int]) -> list[dict[str, Any]]:
    """The lines of a hold for units by SKU."""
    return [
        {"stock_id": stock_id(sku), "sku": sku, "quantity": units} for sku, units in sorted(wanted.items())
    ]


def units_by_sku(items: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Units by SKU; two lines of one SKU are added up."""
    total: Counter[str] = Counter()
    for item in items:
        total[item["sku"]] += item["quantity"]
    return total
