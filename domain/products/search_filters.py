"""Which products a query wants, and in which order. Pure."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from domain.products.builder import ProductQuery
from domain.products.search_catalogue import Entry

TYPE, CATEGORY, PRICE, ATTRIBUTE = "type", "category", "price", "attribute"

#: Where a product stands in an order: what it is sorted by, then its id. JSON as it is.
Key: TypeAlias = tuple[int | str, ...]
Ranked: TypeAlias = tuple[Key, Entry]

_KEYS: dict[str, tuple[Callable[[Entry, int], Key], tuple[type, ...]]] = {
    "relevance": (lambda entry, score: (-score, entry.name, entry.product_id), (int, str, str)),
    "sku": (lambda entry, _: (entry.skus[0], entry.product_id), (str, str)),
    "name": (lambda entry, _: (entry.name, entry.product_id), (str, str)),
    "price": (lambda entry, _: (entry.currency, entry.prices[0], entry.product_id), (str, int, str)),
    "created": (lambda entry, _: (entry.created, entry.product_id), (int, str)),
}
#: Each sort's key, and whether the greatest comes first.
_ORDERS = {
    "relevance": ("relevance", False),
    "sku": ("sku", False),
    "-sku": ("sku", True),
    "name": ("name", False),
    "-name": ("name", True),
    "price": ("price", False),
    "-price": ("price", True),
    "newest": ("created", True),
}


def missed(query: ProductQuery, entry: Entry) -> list[str]:
    """The filters that the product does not pass; of attributes `attribute:` with the name."""
    found = []
    if query.types and entry.type not in query.types:
        found.append(TYPE)
    if query.categories and entry.category not in query.categories:
        found.append(CATEGORY)
    if query.currency is not None and not _affordable(query, entry):
        found.append(PRICE)
    for name, wanted in query.attributes:
        if wanted.isdisjoint(entry.values):
            found.append(f"{ATTRIBUTE}:{name}")
    return found


def _affordable(query: ProductQuery, entry: Entry) -> bool:
    low = query.lowest.amount if query.lowest else 0
    high = query.highest.amount if query.highest else None
    return entry.currency == query.currency and any(
        low <= price and (high is None or price <= high) for price in entry.prices
    )


def key_of(sort: str, entry: Entry, score: int) -> Key:
    """Where the product stands in this order."""
    return _KEYS[_ORDERS[sort][0]][0](entry, score)


def fits(sort: str, key: Sequence[int | str]) -> bool:
    """Whether this could be a key of the order."""
    kinds = _KEYS[_ORDERS[sort][0]][1]
    return len(key) == len(kinds) and all(
        isinstance(part, kind) for part, kind in zip(key, kinds, strict=True)
    )


def ranked(sort: str, found: Iterable[tuple[Entry, int]], *, after: Key | None, most: int) -> list[Ranked]:
    """The first `most` products of the order that come after the key."""
    backwards = _ORDERS[sort][1]
    keyed = ((key_of(sort, entry, score), entry) for entry, score in found)
    if after is not None:
        keyed = (each for each in keyed if (each[0] < after if backwards else each[0] > after))
    pick = heapq.nlargest if backwards else heapq.nsmallest
    return pick(most, keyed, key=_key)


def _key(each: Ranked) -> Key:
    return each[0]
