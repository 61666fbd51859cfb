"""Questions to the catalogue, built step by step and checked as a whole. Pure.

query = Query.text("organic tea").type("grocery").price(Money(amount=500), Money(amount=2000)).build()
await services.search.find(query, limit=50)
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from domain.errors import InvalidQuery
from domain.products import registry
from domain.products.rules import TRANSITIONS
from domain.products.search_rules import LONGEST_VALUE, MOST_WORDS, pair, words
from domain.values import Money

RELEVANCE, BY_SKU = "relevance", "sku"
#: What results can be sorted by; "-" is from the highest.
SORTS = (RELEVANCE, BY_SKU, "-sku", "name", "-name", "price", "-price", "newest")
STATUSES = frozenset(TRANSITIONS)
#: Bounds: characters of the text, attributes of a query, values of one filter, characters of a name.
LONGEST_TEXT, MOST_ATTRIBUTES, MOST_VALUES, LONGEST_NAME = 200, 10, 20, 80

#: A broken rule: the step it belongs to, its name, and a sentence.
Broken = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ProductQuery:
    """A question that keeps every rule. Values of one filter are alternatives; filters hold together."""

    words: tuple[str, ...]
    #: Whether there was a text: one without a single word in it finds nothing.
    has_text: bool
    types: frozenset[str]
    categories: frozenset[str]
    lowest: Money | None
    highest: Money | None
    #: The pairs that will do, by attribute or option.
    attributes: tuple[tuple[str, frozenset[str]], ...]
    in_stock: bool
    #: None: whatever everybody sees.
    statuses: frozenset[str] | None
    sort: str

    @property
    def fingerprint(self) -> str:
        """Tells this question from others, in every process."""
        facts = [
            self.words, self.has_text, sorted(self.types), sorted(self.categories),
            *(bound and [bound.amount, bound.currency] for bound in (self.lowest, self.highest)),
            [(name, sorted(wanted)) for name, wanted in self.attributes],
            self.in_stock, sorted(self.statuses or ()), self.sort,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def currency(self) -> str | None:
        """That of the price filter, where there is one."""
        bound = self.lowest or self.highest
        return bound.currency if bound else None


@dataclass(frozen=True, slots=True)
class Query:
    """Builds a ProductQuery. Every step answers a new builder; nothing is checked before `build`."""

    _text: str | None = None
    _types: tuple[str, ...] = ()
    _categories: tuple[str, ...] = ()
    _lowest: Money | None = None
    _highest: Money | None = None
    _attributes: tuple[tuple[str, str], ...] = ()
    _in_stock: bool = False
    _statuses: tuple[str, ...] | None = None
    _sort: str | None = None

    @classmethod
    def text(cls, text: str) -> Self:
        """Products that have every word of the text, or a word that begins with it."""
        return cls(_text=text)

    @classmethod
    def all(cls) -> Self:
        """Every product."""
        return cls()

    def type(self, *names: str) -> Self:
        """Of any of these product types."""
        return replace(self, _types=self._types + names)

    def category(self, *names: str) -> Self:
        """Of any of these categories."""
        return replace(self, _categories=self._categories + names)

    def price(self, lowest: Money | None = None, highest: Money | None = None) -> Self:
        """With a variant that costs from `lowest` to `highest`, both included."""
        return replace(self, _lowest=lowest, _highest=highest)

    def where(self, attributes: Mapping[str, str] | None = None, **more: str) -> Self:
        """With these attributes or options. The same name again adds an alternative."""
        return replace(
            self, _attributes=self._attributes + tuple((attributes or {}).items()) + tuple(more.items())
        )

    def in_stock(self) -> Self:
        """With a variant of which there are units."""
        return replace(self, _in_stock=True)

    def status(self, *names: str) -> Self:
        """In any of these states. Who may ask that is the caller's business."""
        return replace(self, _statuses=(self._statuses or ()) + names)

    def sort(self, by: str) -> Self:
        """By one of `SORTS`; else by relevance where there is a text, and by SKU where there is none."""
        return replace(self, _sort=by)

    def build(self) -> ProductQuery:
        """The question. Raises InvalidQuery, whose `errors` name every rule that is broken."""
        if broken := list(self._broken()):
            raise InvalidQuery(
                errors=[{"step": step, "rule": rule, "message": why} for step, rule, why in broken]
            )
        asked: dict[str, set[str]] = {}
        for name, value in self._attributes:
            asked.setdefault(name, set()).add(pair(name, value))
        return ProductQuery(
            words=self._words(),
            has_text=self._text is not None,
            types=frozenset(self._types),
            categories=frozenset(self._categories),
            lowest=self._lowest,
            highest=self._highest,
            attributes=tuple((name, frozenset(values)) for name, values in sorted(asked.items())),
            in_stock=self._in_stock,
            statuses=None if self._statuses is None else frozenset(self._statuses),
            sort=self._sort or (BY_SKU if self._text is None else RELEVANCE),
        )

    def _words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(words(self._text or "")))

    def _broken(self) -> Iterator[Broken]:
        yield from self._text_rules()
        yield from self._type_rules()
        yield from _number("category", self._categories)
        yield from self._price_rules()
        yield from self._attribute_rules()
        if not STATUSES.issuperset(self._statuses or ()):
            yield "status", "unknown_status", f"one of {', '.join(sorted(STATUSES))}"
        if self._sort is not None and self._sort not in SORTS:
            yield "sort", "unknown_sort", f"one of {', '.join(SORTS)}"
        if self._sort == RELEVANCE and self._text is None:
            yield "sort", "relevance_without_text", "only a text has a relevance"

    def _text_rules(self) -> Iterator[Broken]:
        if self._text is None:
            return
        if not self._text.strip():
            yield "text", "blank_text", "a text has something in it"
        elif len(self._text) > LONGEST_TEXT:
            yield "text", "text_too_long", f"at most {LONGEST_TEXT} characters"
        elif len(self._words()) > MOST_WORDS:
            yield "text", "too_many_words", f"at most {MOST_WORDS} different words"

    def _type_rules(self) -> Iterator[Broken]:
        yield from _number("type", self._types)
        known = registry.names()
        if any(name not in known for name in self._types):
            yield "type", "unknown_type", f"one of {', '.join(known)}"

    def _price_rules(self) -> Iterator[Broken]:
        low, high = self._lowest, self._highest
        if low is None or high is None:
            return
        if low.currency != high.currency:
            yield "price", "price_currencies", "both bounds are of one currency"
        elif low.amount > high.amount:
            yield "price", "price_order", "the lower bound is not above the upper one"

    def _attribute_rules(self) -> Iterator[Broken]:
        names = [name for name, _ in self._attributes]
        if len(set(names)) > MOST_ATTRIBUTES:
            yield "where", "too_many_attributes", f"at most {MOST_ATTRIBUTES} attributes"
        if any(names.count(name) > MOST_VALUES for name in set(names)):
            yield "where", "too_many_values", f"at most {MOST_VALUES} values"
        if not all(0 < len(name) <= LONGEST_NAME for name in names):
            yield "where", "attribute_name", f"a name has 1 to {LONGEST_NAME} characters"
        if not all(value.strip() and len(value) <= LONGEST_VALUE for _, value in self._attributes):
            yield "where", "attribute_value", f"a value has 1 to {LONGEST_VALUE} characters"


def _number(step: str, given: Sequence[str]) -> Iterator[Broken]:
    if len(given) > MOST_VALUES:
        yield step, "too_many_values", f"at most {MOST_VALUES} values"
