"""What a discount may say. Pure: the builder asks it of new discounts, the service of edited ones."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from domain.discounts.terms import ANY, BUY_GET, FIXED, KINDS, PERCENT, Clause, Terms
from domain.errors import DiscountInvalid

#: A broken rule: the step it belongs to, its name, and a sentence.
Broken = tuple[str, str, str]

LONGEST_NAME = 100
MOST_CLAUSES, MOST_GROUPS, MOST_OTHERS = 100, 20, 50
MOST_USES, MOST_UNITS, HIGHEST_PRIORITY = 10**9, 1000, 1000
MOST_MONEY = 10**12
ALL = 100

_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,31}")


def check(terms: Terms, also: Iterable[Broken] = ()) -> Terms:
    """The terms. Raises DiscountInvalid, whose `errors` name every rule that is broken."""
    if broken := [*also, *_broken(terms)]:
        errors = [{"field": step, "code": rule, "message": why} for step, rule, why in broken]
        raise DiscountInvalid(errors=errors)
    return terms


def _broken(terms: Terms) -> Iterator[Broken]:
    yield from _names(terms)
    yield from _kind(terms)
    yield from _scope(terms)
    yield from _money(terms)
    yield from _limits(terms)
    yield from _period(terms)
    yield from _others(terms)


def _names(terms: Terms) -> Iterator[Broken]:
    if terms.code is not None and not _CODE.fullmatch(terms.code):
        yield "code", "code_form", "1 to 32 letters, digits, - and _, the first a letter or digit"
    if not _is_text(terms.name, LONGEST_NAME):
        yield "name", "name_form", f"1 to {LONGEST_NAME} characters on one line"


def _is_text(text: str, longest: int) -> bool:
    return text.isprintable() and bool(text.strip()) and len(text) <= longest


def _kind(terms: Terms) -> Iterator[Broken]:
    if terms.kind not in KINDS:
        yield "kind", "no_kind", f"one of {', '.join(KINDS)}"
    percent = terms.percent
    if terms.kind in {PERCENT, BUY_GET} and not (0 < percent <= ALL and percent == round(percent, 2)):
        yield "percent", "percent_range", "above 0, at most 100, with at most two decimals"
    if terms.kind == FIXED and terms.amount < 1:
        yield "amount", "amount_positive", "a fixed amount is above 0"
    if terms.kind == FIXED and terms.cap is not None:
        yield "cap", "cap_of_fixed", "a fixed amount is its own cap"
    if terms.kind == BUY_GET and not (1 <= terms.buy <= MOST_UNITS and 1 <= terms.reward <= MOST_UNITS):
        yield "buy", "buy_get_units", f"1 to {MOST_UNITS} units to buy, and as many to get"


def _scope(terms: Terms) -> Iterator[Broken]:
    if len(terms.on) > MOST_CLAUSES:
        yield "on", "too_many_scopes", f"at most {MOST_CLAUSES}"
    if Clause() in terms.on:
        yield "on", "empty_scope", "names a SKU, a product, a category or a type"
    if any(not _is_text(value, LONGEST_NAME) for clause in terms.on for value in _values(clause)):
        yield "on", "scope_form", f"1 to {LONGEST_NAME} characters on one line"
    if len(terms.groups) > MOST_GROUPS:
        yield "groups", "too_many_groups", f"at most {MOST_GROUPS}"
    if any(not _is_text(group, LONGEST_NAME) for group in terms.groups):
        yield "groups", "group_form", f"1 to {LONGEST_NAME} characters on one line"


def _values(clause: Clause) -> list[str]:
    named = (clause.sku, clause.product, clause.category, clause.type)
    return [value for value in named if value is not None]


def _money(terms: Terms) -> Iterator[Broken]:
    amounts = {
        "amount": terms.amount,
        "min_spend": terms.min_spend,
        "cap": terms.cap or 0,
        "budget": terms.budget or 0,
    }
    for name, amount in amounts.items():
        if not 0 <= amount <= MOST_MONEY:
            yield name, "money_range", f"0 to {MOST_MONEY}"
    for name, bound in (("cap", terms.cap), ("budget", terms.budget)):
        if bound == 0:
            yield name, f"{name}_positive", "a bound of 0 is no discount at all"
    if any(amounts.values()) and terms.currency is None:
        yield "currency", "currency_missing", "amounts have a currency"


def _limits(terms: Terms) -> Iterator[Broken]:
    for name, limit in (("limit", terms.limit), ("per_customer", terms.per_customer)):
        if limit is not None and not 1 <= limit <= MOST_USES:
            yield name, f"{name}_range", f"1 to {MOST_USES} uses"
    if terms.limit is not None and terms.per_customer is not None and terms.per_customer > terms.limit:
        yield "per_customer", "per_customer_past_limit", "one customer has no more uses than there are"


def _period(terms: Terms) -> Iterator[Broken]:
    ends = [at for at in (terms.starts_at, terms.ends_at) if at is not None]
    if any(at.tzinfo is None for at in ends):
        yield "between", "period_zone", "a time has its zone"
    elif len(ends) == len(("from", "to")) and ends[0] >= ends[1]:
        yield "between", "period_order", "begins before it ends"


def _others(terms: Terms) -> Iterator[Broken]:
    if len(terms.combines_with) > MOST_OTHERS:
        yield "stackable_with", "too_many_others", f"at most {MOST_OTHERS}"
    if any(not _is_text(key, LONGEST_NAME) for key in terms.combines_with):
        yield "stackable_with", "other_form", "codes, or names of automatic discounts"
    if ANY in terms.combines_with and len(terms.combines_with) > 1:
        yield "stackable_with", "any_and_others", "everything, or those that are named"
    if terms.key in terms.combines_with:
        yield "stackable_with", "stacks_with_itself", "no discount applies twice"
    if abs(terms.priority) > HIGHEST_PRIORITY:
        yield "priority", "priority_range", f"-{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"


def as_percent(value: Decimal | float | str) -> Decimal:
    """The decimal that is meant: of a float the one that it is written as. What is no number becomes -1."""
    try:
        percent = Decimal(str(value))
    except InvalidOperation:
        return Decimal(-1)
    return percent if percent.is_finite() else Decimal(-1)
