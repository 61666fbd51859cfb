"""Discounts, built step by step and checked as a whole. Pure.

spring = (
Discount.code("SPRING").percent(20).on(category="Beverages").min_spend(Money(amount=5000))
.cap(Money(amount=2000)).once_per_customer().limit(500).between(march, june).stackable_with("LOYAL")
.build()
)
await services.discounts.create(spring, by=account_id, key="spring-2026")
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from domain.discounts.checks import Broken, as_percent, check
from domain.discounts.terms import ANY, BUY_GET, FIXED, FREE_SHIPPING, PERCENT, Clause, Terms
from domain.values import Money


@dataclass(frozen=True, slots=True)
class Discount:
    """Builds Terms. Every step answers a new builder; nothing is checked before `build`."""

    _terms: Terms
    _kinds: tuple[str, ...] = ()
    _moneys: tuple[Money, ...] = ()

    @classmethod
    def code(cls, code: str) -> Self:
        """For whoever names the code; upper and lower case are the same."""
        return cls(Terms(id="", name=code.upper(), kind="", code=code.upper()))

    @classmethod
    def automatic(cls, name: str) -> Self:
        """For everybody whom it fits."""
        return cls(Terms(id="", name=name, kind=""))

    @classmethod
    def of(cls, terms: Terms) -> Self:
        """What there is already, to say some of it differently. Its kind and its currency stay."""
        known = () if terms.currency is None else (Money(amount=0, currency=terms.currency),)
        return cls(terms, _kinds=(terms.kind,), _moneys=known)

    def without(self, *fields: str) -> Self:
        """Without what it says under these names of Terms."""
        plain = Terms(id="", name="", kind="")
        return self._with(**{name: getattr(plain, name) for name in fields})

    def named(self, name: str) -> Self:
        """What orders show; else its code."""
        return self._with(name=name)

    def percent(self, percent: Decimal | float | str) -> Self:
        """So many per cent of each line in scope; at most two decimals."""
        return self._percent(percent, kind=PERCENT)

    def fixed(self, amount: Money) -> Self:
        """An amount, shared by the lines in scope; never more than they cost."""
        return self._money("amount", amount, kind=FIXED)

    def buy(self, units: int) -> Self:
        """Of every `units` in scope and as many more as `get` says, the latter are free."""
        return self._with(kind=BUY_GET, buy=units)

    def get(self, units: int, percent: Decimal | float | str = 100) -> Self:
        """After `buy`: how many are free, or cost so many per cent less; the cheapest ones."""
        return self._percent(percent, reward=units)

    def free_shipping(self) -> Self:
        """No shipping to pay."""
        return self._with(kind=FREE_SHIPPING)

    def on(
        self,
        *,
        sku: str | None = None,
        product: str | None = None,
        category: str | None = None,
        type: str | None = None,  # noqa: A002 - what products call it
    ) -> Self:
        """Lines of which all of this is true. The step again adds an alternative; without it: every line."""
        return self._with(on=(*self._terms.on, Clause(sku, product, category, type)))

    def for_group(self, *groups: str) -> Self:
        """For customers in any of the groups."""
        return self._with(groups=self._terms.groups | set(groups))

    def min_spend(self, amount: Money) -> Self:
        """Where the lines in scope cost at least so much, before any discount."""
        return self._money("min_spend", amount)

    def cap(self, amount: Money) -> Self:
        """Takes at most so much off one order."""
        return self._money("cap", amount)

    def budget(self, amount: Money) -> Self:
        """Takes at most so much off all orders together."""
        return self._money("budget", amount)

    def limit(self, uses: int) -> Self:
        """So many orders use it, and no more."""
        return self._with(limit=uses)

    def per_customer(self, uses: int) -> Self:
        """So many orders of one customer use it, and no more."""
        return self._with(per_customer=uses)

    def once_per_customer(self) -> Self:
        """One order of each customer uses it."""
        return self.per_customer(1)

    def between(self, starts_at: datetime | None, ends_at: datetime | None) -> Self:
        """From the one, up to but without the other; None is open."""
        return self.starting(starts_at).ending(ends_at)

    def starting(self, at: datetime | None) -> Self:
        """From then on."""
        return self._with(starts_at=at)

    def ending(self, at: datetime | None) -> Self:
        """Until then, and not then."""
        return self._with(ends_at=at)

    def stackable_with(self, *others: str) -> Self:
        """Applies beside these: codes, or names of automatic discounts. They need not say so themselves."""
        return self._with(combines_with=self._terms.combines_with | {other.upper() for other in others})

    def stackable(self) -> Self:
        """Applies beside every other that is stackable, too."""
        return self._with(combines_with=self._terms.combines_with | {ANY})

    def priority(self, priority: int) -> Self:
        """The highest applies first."""
        return self._with(priority=priority)

    def build(self) -> Terms:
        """What the discount says. Raises DiscountInvalid, whose `errors` name every rule that is broken."""
        currencies = {money.currency for money in self._moneys}
        currency = min(currencies, default=None)
        return check(replace(self._terms, currency=currency), also=self._rules(currencies))

    def _rules(self, currencies: set[str]) -> Iterator[Broken]:
        if len(set(self._kinds)) > 1:
            yield "kind", "two_kinds", f"either of {', '.join(sorted(set(self._kinds)))}"
        if self._terms.reward and BUY_GET not in self._kinds:
            yield "get", "get_without_buy", "says after `buy` what is to get"
        if len(currencies) > 1:
            yield "currency", "two_currencies", "all amounts are in one currency"

    def _with(self, **fields: Any) -> Self:
        kinds = (*self._kinds, fields["kind"]) if "kind" in fields else self._kinds
        return replace(self, _terms=replace(self._terms, **fields), _kinds=kinds)

    def _money(self, name: str, money: Money, **fields: Any) -> Self:
        return replace(self._with(**{name: money.amount}, **fields), _moneys=(*self._moneys, money))

    def _percent(self, percent: Decimal | float | str, **fields: Any) -> Self:
        return self._with(percent=as_percent(percent), **fields)
