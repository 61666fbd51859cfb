"""What stock allows. Pure: handed what was read, it says what to write."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.inventory.strategies import Offer, Strategy, by_priority

HELD = "held"
COMMITTED = "committed"
RELEASED = "released"

#: The location that exists from the start.
DEFAULT_LOCATION = "main"

#: Why a hold ended.
PAID, EXPIRED, CANCELLED, GIVEN_BACK = "paid", "expired", "cancelled", "given_back"
#: Before the id of a discount: what is wanted of it is a use, which no SKU can be mistaken for.
USE = "use:"


def stock_id(sku: str, location: str = DEFAULT_LOCATION) -> str:
    """The id of the stock of a SKU at a location."""
    return f"{location}:{sku}"


def whose_stock(stock: str) -> tuple[str, str]:
    """The SKU and the location of a stock's id."""
    location, _, sku = stock.partition(":")
    return sku, location


def lock_key(sku: str) -> str:
    """The lock that saves two batches from competing for a SKU."""
    return f"lock:sku:{sku}"


@dataclass(frozen=True, slots=True)
class Level:
    """What was read of one stock. It is low while at most `low_at` units are available, if that is set."""

    available: int
    reserved: int = 0
    low_at: int | None = None
    low: bool = False

    def low_after(self, by: int) -> bool:
        """Whether it is low once `by` units have come, or gone."""
        return self.low_at is not None and self.available + by <= self.low_at


@dataclass(frozen=True, slots=True)
class Step:
    """A change that one update makes to several stocks: what they have in common before and after it.

    Its bounds are such that the stock is low after the update, or is not, exactly as was decided, although
    others may have changed it since it was read. One that turns has to be as it was read.
    """

    by: int
    low_at: int | None
    low: bool
    low_after: bool
    exactly: int | None

    @classmethod
    def of(cls, level: Level, by: int) -> "Step":
        """How `by` units change the level."""
        after = level.low_after(by)
        return cls(by, level.low_at, level.low, after, level.available if after != level.low else None)

    @property
    def turns(self) -> bool:
        """Whether the stock gets low by it, or is low no more."""
        return self.low != self.low_after

    @property
    def least(self) -> int:
        """The fewest units that may be available before it."""
        enough = max(-self.by, 0)
        return enough if self.low_at is None or self.low_after else max(enough, self.low_at + 1 - self.by)

    @property
    def most(self) -> int | None:
        """The most; None where any number will do."""
        return self.low_at - self.by if self.low_at is not None and self.low_after else None


def steps(changed: Mapping[str, int], levels: Mapping[str, Level]) -> dict[Step, list[str]]:
    """Stock ids grouped by what happens to them: one update serves a whole group. No change, no step."""
    groups: dict[Step, list[str]] = defaultdict(list)
    for each, by in sorted(changed.items()):
        if by:
            groups[Step.of(levels.get(each, Level(0)), by)].append(each)
    return dict(groups)


@dataclass(frozen=True, slots=True)
class Shortage:
    """More units wanted of a SKU than any one location has. `available` is the most that one has."""

    sku: str
    wanted: int
    available: int
    #: Over all locations.
    in_all: int

    def as_detail(self) -> dict[str, Any]:
        """For an error's detail. `in_all` only where several locations have some."""
        detail = {"sku": self.sku, "wanted": self.wanted, "available": self.available}
        return detail | {"in_all": self.in_all} if self.in_all > self.available else detail


@dataclass(slots=True)
class Shelf:
    """The stock that one batch sees: what there was by stock id, and what the batch has taken so far."""

    levels: Mapping[str, Level]
    #: Locations to take from, in the order of their priority.
    places: Sequence[str] = (DEFAULT_LOCATION,)
    choose: Strategy = by_priority
    taken: Counter[str] = field(default_factory=Counter)

    def knows(self, sku: str) -> bool:
        """Whether there is such a SKU, with or without units."""
        return any(stock_id(sku, place) in self.levels for place in (DEFAULT_LOCATION, *self.places))

    def short(self, wanted: Mapping[str, int]) -> list[Shortage]:
        """What is missing for `wanted` (units by SKU); nothing when each SKU fits at one location."""
        found = []
        for sku, units in sorted(wanted.items()):
            left = [offer.left for offer in self._offers(sku)]
            if units > max(left, default=0):
                found.append(Shortage(sku, units, max(left, default=0), sum(left)))
        return found

    def take(self, wanted: Mapping[str, int]) -> list[dict[str, Any]]:
        """Takes what `short` said fits; answers the lines of the hold."""
        return [self._take(sku, units) for sku, units in sorted(wanted.items())]

    def _take(self, sku: str, units: int) -> dict[str, Any]:
        offers = [offer for offer in self._offers(sku) if offer.left >= units]
        stock = stock_id(sku, self.choose(sku, units, offers))
        self.taken[stock] += units
        return {"stock_id": stock, "sku": sku, "quantity": units}

    def _offers(self, sku: str) -> list[Offer]:
        found = []
        for place in self.places:
            stock = stock_id(sku, place)
            if stock in self.levels:
                found.append(Offer(place, self.levels[stock].available - self.taken[stock]))
        return found


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


def units_by_sku(items: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Units by SKU; two lines of one SKU are added up."""
    total: Counter[str] = Counter()
    for item in items:
        total[item["sku"]] += item["quantity"]
    return total
