"""Which discounts apply to a basket, and what they take off. Pure.

Requested codes come first, then automatic discounts; within each the higher priority first, then by kind (as
in KINDS), then by code or name. Each is taken from what those before it left. A discount that does not apply
changes nothing for the others, and the order in which a client names codes means nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from domain.discounts.amounts import Left, taken_off
from domain.discounts.terms import (
    ANY,
    BUY_GET,
    FIXED,
    FREE_SHIPPING,
    KINDS,
    MOST_CODES,
    PERCENT,
    Application,
    Basket,
    BasketLine,
    Clause,
    Code,
    Codes,
    Discounted,
    Refusal,
    Terms,
    Usage,
    normal_codes,
)
from domain.events.rules import rfc3339

__all__ = [
    "ANY",
    "BUY_GET",
    "FIXED",
    "FREE_SHIPPING",
    "KINDS",
    "MOST_CODES",
    "PERCENT",
    "REASONS",
    "USED_UP",
    "Application",
    "Basket",
    "BasketLine",
    "Clause",
    "Code",
    "Codes",
    "Discounted",
    "Refusal",
    "Terms",
    "Usage",
    "discounted",
    "normal_codes",
]

UNKNOWN_CODE, NOT_YET, EXPIRED = "unknown_code", "not_yet", "expired"
WRONG_CURRENCY, WRONG_GROUP = "wrong_currency", "wrong_group"
NOTHING_IN_SCOPE, MIN_SPEND = "nothing_in_scope", "min_spend"
LIMIT_REACHED, USED_BY_CUSTOMER, BUDGET_SPENT = "limit_reached", "used_by_customer", "budget_spent"
NOT_STACKABLE = "not_stackable"
#: Reasons that are over as soon as somebody gives a use back.
USED_UP = frozenset({LIMIT_REACHED, USED_BY_CUSTOMER, BUDGET_SPENT})
#: Every reason for which a code can be refused. Where several hold, the first of them is told.
REASONS = (
    UNKNOWN_CODE, NOT_YET, EXPIRED, WRONG_GROUP, WRONG_CURRENCY, NOTHING_IN_SCOPE, MIN_SPEND, LIMIT_REACHED,
    USED_BY_CUSTOMER, BUDGET_SPENT, NOT_STACKABLE,
)  # fmt: skip


def discounted(
    basket: Basket, terms: Sequence[Terms], codes: Sequence[str], usage: Usage, at: datetime
) -> Discounted:
    """What `codes` and the automatic ones among `terms` take off the basket at the time `at`.

    `terms` are all that may apply; those with a code that was not asked for do not. Every code that was asked
    for ends as an application or as a refusal. An automatic discount that does not fit just does not apply.
    """
    wanted = normal_codes(codes)
    known = {each.code: each for each in terms if each.code is not None}
    refusals = {code: Refusal(code, UNKNOWN_CODE) for code in wanted if code not in known}
    left = Left({line.key: line.amount for line in basket.lines}, basket.shipping)
    accepted: list[Terms] = []
    applications: list[Application] = []
    for each in _in_order(terms, wanted):
        refusal = next(_against(each, basket, usage, at), None) or _beside(each, accepted)
        found = refusal or _apply(each, basket, left, usage)
        if isinstance(found, Application):
            accepted.append(each)
            applications.append(found)
            left = left.without(Left(found.by_line, found.shipping))
        elif each.code is not None:
            refusals[each.code] = found
    return Discounted(
        applications=tuple(applications),
        refusals=tuple(refusals[code] for code in sorted(refusals)),
        amount=sum(each.amount for each in applications),
    )


def _in_order(terms: Sequence[Terms], wanted: Sequence[str]) -> list[Terms]:
    asked = [each for each in terms if each.code is None or each.code in wanted]
    return sorted(
        asked,
        key=lambda each: (each.code is None, -each.priority, KINDS.index(each.kind), each.key, each.id),
    )


def _apply(terms: Terms, basket: Basket, left: Left, usage: Usage) -> Application | Refusal:
    lines = [line for line in basket.lines if terms.covers(line)]
    off = taken_off(terms, lines, left)
    if off.total == 0:
        return _refusal(terms, NOTHING_IN_SCOPE)
    if terms.budget is not None and usage.spent.get(terms.id, 0) + off.total > terms.budget:
        return _refusal(terms, BUDGET_SPENT)
    return Application(
        discount_id=terms.id,
        code=terms.code,
        name=terms.name,
        kind=terms.kind,
        by_line=dict(off.lines),
        shipping=off.shipping,
        amount=off.total,
    )


def _beside(terms: Terms, accepted: Sequence[Terms]) -> Refusal | None:
    others = sorted(other.key for other in accepted if not terms.combines(other))
    return _refusal(terms, NOT_STACKABLE, conflicts_with=others) if others else None


def _against(terms: Terms, basket: Basket, usage: Usage, at: datetime) -> Iterator[Refusal]:
    """What speaks against the discount by itself, whatever else applies."""
    if terms.starts_at is not None and at < terms.starts_at:
        yield _refusal(terms, NOT_YET, starts_at=rfc3339(terms.starts_at))
    if terms.ends_at is not None and at >= terms.ends_at:
        yield _refusal(terms, EXPIRED, ended_at=rfc3339(terms.ends_at))
    if terms.groups and not terms.groups & basket.groups:
        yield _refusal(terms, WRONG_GROUP)
    if terms.currency is not None and terms.currency != basket.currency:
        yield _refusal(terms, WRONG_CURRENCY, currency=terms.currency)
    spent = sum(line.amount for line in basket.lines if terms.covers(line))
    if not any(terms.covers(line) for line in basket.lines):
        yield _refusal(terms, NOTHING_IN_SCOPE)
    if spent < terms.min_spend:
        yield _refusal(terms, MIN_SPEND, min_spend=terms.min_spend, spent=spent)
    yield from _used_up(terms, usage)


def _used_up(terms: Terms, usage: Usage) -> Iterator[Refusal]:
    if terms.limit is not None and usage.uses.get(terms.id, 0) >= terms.limit:
        yield _refusal(terms, LIMIT_REACHED)
    if terms.per_customer is not None and usage.of_customer.get(terms.id, 0) >= terms.per_customer:
        yield _refusal(terms, USED_BY_CUSTOMER, per_customer=terms.per_customer)
    if terms.budget is not None and usage.spent.get(terms.id, 0) >= terms.budget:
        yield _refusal(terms, BUDGET_SPENT)


def _refusal(terms: Terms, reason: str, **detail: Any) -> Refusal:
    return Refusal(terms.code or terms.name, reason, detail)
