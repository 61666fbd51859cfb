"""The index of one process: who has which word, and what each product is filtered and sorted by. Pure.

A word's products stand in one array of numbers, four bytes each: the product's place, and in the lowest four
bits what the word counts there. A product that changes gets a new place; the old one stays empty until a
third of the places are, and the arrays are made anew.
"""

import sys
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.products.rules import PUBLISHED, Doc
from domain.products.search_rules import (
    ATTRIBUTE,
    CATEGORY,
    DESCRIPTION,
    EXACT,
    NAME,
    fold,
    pair,
    terms,
    texts,
    values,
)

_WEIGHT_BITS = 4
_WEIGHT = 2**_WEIGHT_BITS - 1
#: Sorts after every word that begins alike.
_LAST = "\U0010ffff"
#: Characters of a name that it is sorted by.
_NAME_KEY = 40
#: Empty places that are worth no cleaning.
_FEW = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """A product as it is searched."""

    product_id: str
    revision: str
    status: str
    type: str
    category: str
    #: Of the variants that are sold, or of all where none is; the first one first.
    skus: tuple[str, ...]
    #: The currency and the lowest amount in it; every different amount.
    currency: str
    prices: tuple[int, ...]
    #: Each attribute and option as a `pair`.
    values: tuple[str, ...]
    #: The folded name's beginning.
    name: str
    created: int
    words: tuple[str, ...]
    weights: bytes


def entry_of(product: Doc) -> Entry | None:
    """The stored product as it is searched; None where it is deleted."""
    if product["deleted_at"] is not None:
        return None
    variants = sold(product)
    currency = variants[0]["price"]["currency"]
    prices = {each["price"]["amount"] for each in variants if each["price"]["currency"] == currency}
    found = terms(_fields(product, variants))
    return Entry(
        product_id=product["_id"],
        revision=product["revision"],
        status=sys.intern(product["status"]),
        type=sys.intern(product["type"]),
        category=sys.intern(product["category"]),
        skus=tuple(each["sku"] for each in variants),
        currency=sys.intern(currency),
        prices=tuple(sorted(prices)),
        values=tuple({sys.intern(pair(name, text)): None for name, text in pairs(product)}),
        name=fold(product["name"])[:_NAME_KEY],
        created=int(product["created_at"].timestamp() * 1000),
        words=tuple(map(sys.intern, found)),
        weights=bytes(found.values()),
    )


def sold(product: Doc) -> Sequence[Doc]:
    """The product's active variants; all of them where none is, as in a draft."""
    return [each for each in product["variants"] if each["active"]] or product["variants"]


def pairs(product: Doc) -> Iterator[tuple[str, str]]:
    """What the product can be filtered by: its attributes, and the options of its variants."""
    yield from values(product["attributes"])
    for each in sold(product):
        yield from values(each["options"])


def _fields(product: Doc, variants: Sequence[Doc]) -> Iterator[tuple[int, str]]:
    yield NAME, product["name"]
    yield CATEGORY, product["category"]
    for variant in variants:
        yield ATTRIBUTE, variant["sku"]
        yield ATTRIBUTE, variant["barcode"] or ""
        for text in variant["options"].values():
            yield ATTRIBUTE, text
    for text in texts(product["attributes"]):
        yield ATTRIBUTE, text
    yield DESCRIPTION, product["description"] or ""


class Catalogue:
    """Entries by place, and the places of each word."""

    def __init__(self) -> None:
        self._entries: list[Entry | None] = []
        self._places: dict[str, int] = {}
        self._postings: dict[str, array[int]] = {}
        #: Every word, sorted.
        self._words: list[str] = []
        #: Values as they were first written, by `pair`.
        self._labels: dict[str, str] = {}
        #: Of attributes and options: that any product has, and that one has which everybody sees.
        self._names: set[str] = set()
        self._public_names: set[str] = set()

    def __len__(self) -> int:
        return len(self._places)

    def put(self, product: Doc) -> None:
        """Takes the stored product in as it is now, or out where it is deleted."""
        entry = entry_of(product)
        place = self._places.get(product["_id"])
        if place is not None:
            known = self._entries[place]
            if entry is not None and known is not None and known.revision == entry.revision:
                return
            self.drop(product["_id"])
        if entry is not None:
            self._add(entry)
            for name, text in pairs(product):
                self._labels.setdefault(pair(name, text), text)
            self._name(entry)

    def drop(self, product_id: str) -> None:
        """Takes the product out, where it is in."""
        place = self._places.pop(product_id, None)
        if place is not None:
            self._entries[place] = None
            if len(self._entries) - len(self._places) > max(_FEW, len(self._places) // 2):
                self._clean()

    def keep(self, product_ids: Iterable[str]) -> None:
        """Takes out what is not among these."""
        for product_id in self._places.keys() - set(product_ids):
            self.drop(product_id)

    def entries(self) -> Iterator[tuple[Entry, int]]:
        """Every product, with a score of 0."""
        return ((entry, 0) for entry in self._entries if entry is not None)

    def matches(self, asked: Sequence[str]) -> Iterator[tuple[Entry, int]]:
        """The products that have all of the words, with their scores. The rarest word is looked at first."""
        plan = sorted((self._expand(word) for word in asked), key=lambda each: each.size)
        found: Mapping[int, int] | None = None
        for step in plan:
            found = self._step(step, found)
        for place, score in (found or {}).items():
            entry = self._entries[place]
            if entry is not None:
                yield entry, score

    def plan(self, asked: Sequence[str]) -> list[tuple[str, int, int]]:
        """How `matches` goes about it: each word, how many words begin with it, and their entries."""
        steps = sorted((self._expand(word) for word in asked), key=lambda each: each.size)
        return [(each.word, len(each.known), each.size) for each in steps]

    def knows(self, name: str, *, public: bool) -> bool:
        """Whether a product has, or had, such an attribute or option; with `public`, one for sale."""
        return name in (self._public_names if public else self._names)

    def label(self, pair: str) -> str:
        """The value of the pair, as it was first written."""
        return self._labels.get(pair, pair.partition("=")[2])

    def _expand(self, word: str) -> "_Step":
        low = bisect_left(self._words, word)
        high = bisect_left(self._words, word + _LAST, low)
        known = self._words[low:high]
        return _Step(word, known, sum(len(self._postings[each]) for each in known))

    def _step(self, step: "_Step", within: Mapping[int, int] | None) -> dict[int, int]:
        best: dict[int, int] = {}
        for word in step.known:
            times = EXACT if word == step.word else 1
            for packed in self._postings[word]:
                place, worth = packed >> _WEIGHT_BITS, (packed & _WEIGHT) * times
                if (within is None or place in within) and best.get(place, 0) < worth:
                    best[place] = worth
        return best if within is None else {place: within[place] + worth for place, worth in best.items()}

    def _add(self, entry: Entry) -> None:
        place = len(self._entries)
        self._entries.append(entry)
        self._places[entry.product_id] = place
        for word, weight in zip(entry.words, entry.weights, strict=True):
            postings = self._postings.get(word)
            if postings is None:
                postings = self._postings[word] = array("I")
                insort(self._words, word)
            postings.append(place << _WEIGHT_BITS | weight)

    def _name(self, entry: Entry) -> None:
        names = {value.partition("=")[0] for value in entry.values}
        self._names |= names
        if entry.status == PUBLISHED:
            self._public_names |= names

    def _clean(self) -> None:
        entries = [entry for entry in self._entries if entry is not None]
        self._entries, self._places, self._postings, self._words = [], {}, {}, []
        self._names, self._public_names = set(), set()
        for entry in entries:
            self._add(entry)
            self._name(entry)
        used = {value for entry in entries for value in entry.values}
        self._labels = {value: text for value, text in self._labels.items() if value in used}


@dataclass(frozen=True, slots=True)
class _Step:
    word: str
    #: The known words that begin with it.
    known: list[str]
    size: int
