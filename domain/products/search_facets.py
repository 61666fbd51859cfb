"""How many products there would be with each value of each filter. Pure."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from domain.products.search_catalogue import Entry
from domain.products.search_filters import ATTRIBUTE, CATEGORY, PRICE, TYPE

IN_STOCK = "in_stock"
FACETS = (TYPE, CATEGORY, PRICE, ATTRIBUTE, IN_STOCK)
#: Where price bands begin, in minor units.
BANDS = (0, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000)
#: The most common ones that are told: attributes, and values of one facet.
MOST_ATTRIBUTES, MOST_VALUES = 20, 50


@dataclass(frozen=True, slots=True)
class Count:
    """So many products have this value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Band:
    """So many products have a price from `at_least` to just below `below`; None: there is no end."""

    currency: str
    at_least: int
    below: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Stocked:
    """So many of the products that were looked at have units; `exact` where those were all."""

    count: int
    checked: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts by facet; None for those that were not asked for. The most common values come first."""

    types: list[Count] | None
    categories: list[Count] | None
    prices: list[Band] | None
    attributes: dict[str, list[Count]] | None
    in_stock: Stocked | None


@dataclass(slots=True)
class Tally:
    """Counts products: one that misses a single filter counts in the facet of that filter only."""

    wanted: Collection[str]
    _passed: list[Entry] = field(default_factory=list)
    #: By the only filter that they miss.
    _nearly: dict[str, list[Entry]] = field(default_factory=dict)

    def add(self, entry: Entry, missed: Sequence[str]) -> None:
        """Counts a product that misses these filters."""
        if not missed:
            self._passed.append(entry)
        elif len(missed) == 1:
            self._nearly.setdefault(missed[0], []).append(entry)

    def facets(self, label: Callable[[str], str], stocked: Stocked | None) -> Facets:
        """What was counted; `label` gives the value of an attribute's pair as it was written."""
        types = Counter(entry.type for entry in self._all_but(TYPE))
        categories = Counter(entry.category for entry in self._all_but(CATEGORY))
        return Facets(
            types=_counts(types.items()) if TYPE in self.wanted else None,
            categories=_counts(categories.items()) if CATEGORY in self.wanted else None,
            prices=self._bands() if PRICE in self.wanted else None,
            attributes=self._attributes(label) if ATTRIBUTE in self.wanted else None,
            in_stock=stocked,
        )

    def _all_but(self, missed: str) -> Iterator[Entry]:
        """What passes every filter but, maybe, this one."""
        return chain(self._passed, self._nearly.get(missed, ()))

    def _bands(self) -> list[Band]:
        counts: Counter[tuple[str, int]] = Counter()
        for entry in self._all_but(PRICE):
            for band in {bisect_right(BANDS, price) - 1 for price in entry.prices}:
                counts[entry.currency, band] += 1
        ends = (*BANDS[1:], None)
        return [
            Band(currency, BANDS[band], ends[band], count)
            for (currency, band), count in sorted(counts.items())
        ]

    def _attributes(self, label: Callable[[str], str]) -> dict[str, list[Count]]:
        counts = Counter(chain.from_iterable(entry.values for entry in self._passed))
        for filtered, entries in self._nearly.items():
            kind, _, name = filtered.partition(":")
            if kind == ATTRIBUTE:
                own = (each for entry in entries for each in entry.values)
                counts.update(each for each in own if each.startswith(f"{name}="))
        groups: dict[str, list[tuple[str, int]]] = {}
        for pair, count in counts.items():
            groups.setdefault(pair.partition("=")[0], []).append((label(pair), count))
        common = sorted(groups, key=lambda name: (-sum(count for _, count in groups[name]), name))
        return {name: _counts(groups[name]) for name in common[:MOST_ATTRIBUTES]}


def _counts(pairs: Iterable[tuple[str, int]]) -> list[Count]:
    ordered = sorted(pairs, key=lambda each: (-each[1], each[0]))
    return [Count(value, count) for value, count in ordered[:MOST_VALUES]]
