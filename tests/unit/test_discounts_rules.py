"""What discounts take off: whatever the basket and the terms, sums agree and nothing is negative. No I/O.

Single cases are in `docs/discounts.md`, see `test_discounts_page.py`.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.discounts.amounts import share
from domain.discounts.rules import (
    ANY,
    BUY_GET,
    FIXED,
    KINDS,
    Basket,
    BasketLine,
    Clause,
    Discounted,
    Terms,
    Usage,
    discounted,
)
from domain.values import Money
from tests.worked_cases import NOW

CODES = ("ONE", "TWO", "THREE", "FOUR")


@dataclass(frozen=True)
class World:
    """A basket, all discounts that there are, the codes that are asked for, and what was used before."""

    basket: Basket
    terms: list[Terms]
    codes: list[str]
    usage: Usage

    def work(self, **instead: Any) -> Discounted:
        told = replace(self, **instead)
        return work(told.basket, told.terms, told.codes, told.usage)


def a_world(random: Random) -> World:
    """Made of plain random numbers: drawing each field by Hypothesis takes ten times as long."""
    keys = [*CODES, *(f"~{number}" for number in range(random.randrange(3)))]
    counts = [{code: random.randrange(most) for code in CODES} for most in (6, 3, 2000)]
    return World(
        basket=a_basket(random),
        terms=[some_terms(random, key) for key in keys],
        codes=random.choices((*CODES, "one", "NOPE"), k=random.randrange(8)),
        usage=Usage(*counts),
    )


def a_basket(random: Random) -> Basket:
    lines = []
    for sku in random.sample("ABCDEF", random.randint(1, 5)):
        price, quantity = random.choice((0, 1, 33, 999, random.randrange(3000))), random.randint(1, 7)
        amount = price * quantity * random.choice((100, 100, 90, 67, 0)) // 100
        category = random.choice(("drinks", "snacks"))
        lines.append(BasketLine(sku, sku.lower(), category, "goods", price, quantity, amount))
    return Basket("USD", tuple(lines), random.choice((0, 500)), "ada", some_groups(random))


def some_groups(random: Random) -> frozenset[str]:
    return frozenset(random.sample(("trade", "staff"), random.randrange(3)))


def some_terms(random: Random, key: str) -> Terms:
    def bound(most: int) -> int | None:
        return random.choice((None, None, random.randint(1, most)))

    return Terms(
        id=key,
        name=key,
        code=None if key.startswith("~") else key,
        kind=random.choice(KINDS),
        percent=random.choice((Decimal(100), Decimal(50), Decimal("33.33"), Decimal(1))),
        amount=random.randint(1, 5000),
        buy=random.randint(1, 3),
        reward=random.randint(1, 2),
        currency=random.choice((None, *["USD"] * 8, "EUR")),
        on=random.choice(((), (), (Clause(category="drinks"),), (Clause(sku="A"), Clause(sku="B")))),
        groups=random.choice((*[frozenset()] * 4, some_groups(random))),
        min_spend=random.choice((0, 0, 1500)),
        cap=bound(3000),
        limit=bound(8),
        per_customer=bound(3),
        budget=bound(4000),
        ends_at=random.choice((*[None] * 8, NOW)),
        combines_with=random.choice((*[frozenset({ANY})] * 3, frozenset(random.sample(CODES, 2)))),
        priority=random.randint(-1, 1),
    )


seeds = st.integers(0, 2**48).map(Random)
worlds = seeds.map(a_world)
baskets = seeds.map(a_basket)


def work(basket: Basket, terms: list[Terms], codes: list[str], usage: Usage) -> Discounted:
    return discounted(basket, terms, codes, usage, NOW)


@given(worlds)
def test_sums_agree_and_nothing_is_negative(world: World):
    found = world.work()
    for each in found.applications:
        assert each.amount == sum(each.by_line.values()) + each.shipping
        assert each.amount > 0
        assert min([*each.by_line.values(), each.shipping]) >= 0
    assert found.amount == sum(each.amount for each in found.applications)
    assert all(0 <= found.off(line) <= line.amount for line in world.basket.lines)
    assert 0 <= found.shipping <= world.basket.shipping
    assert found.amount == sum(found.off(line) for line in world.basket.lines) + found.shipping


@given(worlds, seeds)
def test_the_order_of_codes_and_of_terms_means_nothing(world: World, random: Random):
    codes, terms = [*world.codes, *world.codes], [*world.terms]
    random.shuffle(codes)
    random.shuffle(terms)
    assert world.work(terms=terms, codes=codes) == world.work()


@given(worlds)
def test_every_code_is_applied_or_refused_and_no_other(world: World):
    found = world.work()
    applied = [each.code for each in found.applications if each.code is not None]
    refused = [each.code for each in found.refusals]
    assert sorted([*applied, *refused]) == sorted({code.upper() for code in world.codes})


@given(worlds)
def test_a_refused_code_changes_nothing(world: World):
    found = world.work()
    for refused in found.refusals:
        codes = [code for code in world.codes if code.upper() != refused.code]
        assert world.work(codes=codes).applications == found.applications


@given(worlds)
def test_bounds_hold_and_scopes_are_kept(world: World):
    said = {each.id: each for each in world.terms}
    by_key = {line.key: line for line in world.basket.lines}
    for each in world.work().applications:
        its = said[each.discount_id]
        assert its.cap is None or each.amount <= its.cap
        assert its.budget is None or world.usage.spent.get(its.id, 0) + each.amount <= its.budget
        assert its.limit is None or world.usage.uses.get(its.id, 0) < its.limit
        assert its.per_customer is None or world.usage.of_customer.get(its.id, 0) < its.per_customer
        assert its.kind != FIXED or each.amount <= its.amount
        assert all(its.covers(by_key[key]) for key in each.by_line)
        assert its.ends_at is None or its.ends_at > NOW


@given(worlds)
def test_those_that_apply_combine_with_one_another(world: World):
    said = {each.id: each for each in world.terms}
    applied = [said[each.discount_id] for each in world.work().applications]
    assert all(one.combines(other) for one in applied for other in applied if one is not other)


@given(baskets, st.sampled_from((Decimal(5), Decimal("12.5"), Decimal("33.33"), Decimal(100))))
def test_a_percentage_rounds_as_agreed_prices_do(basket: Basket, percent: Decimal):
    terms = Terms(id="ONE", name="ONE", code="ONE", kind="percent", percent=percent)
    found = work(basket, [terms], ["ONE"], Usage())
    for line in basket.lines:
        left = Money(amount=line.amount, currency="USD").percent_off(percent).amount
        assert line.amount - found.off(line) == left


@given(baskets, st.integers(1, 3), st.integers(1, 3))
def test_of_units_to_get_no_dearer_one_is_free(basket: Basket, buy: int, reward: int):
    terms = Terms(id="ONE", name="ONE", code="ONE", kind=BUY_GET, buy=buy, reward=reward)
    found = work(basket, [terms], ["ONE"], Usage())
    units = sorted(
        (line.amount / line.quantity for line in basket.lines for _ in range(line.quantity)), key=float
    )
    free = len(units) // (buy + reward) * reward
    assert abs(found.amount - sum(units[:free])) <= len(basket.lines)


@given(
    st.integers(0, 10**6),
    st.dictionaries(st.text(max_size=3), st.integers(0, 10**6), min_size=1, max_size=20),
)
def test_a_share_is_exact_and_fair(total: int, weights: dict[str, int]):
    whole = sum(weights.values())
    total = min(total, whole)
    parts = share(total, weights)
    assert sum(parts.values()) == total
    assert all(parts.get(key, 0) <= weight for key, weight in weights.items())
    for key, weight in weights.items():
        assert whole == 0 or abs(parts.get(key, 0) - total * weight / whole) < 1 + 1e-6


def test_two_lines_of_one_sku_are_told_apart_by_their_ids():
    line = BasketLine("A", "a", "drinks", "goods", 100, 1, 100, id="0")
    basket = Basket("USD", (line, replace(line, amount=40, id="1")))
    found = work(
        basket, [Terms(id="X", name="X", code="X", kind="percent", percent=Decimal(50))], ["X"], Usage()
    )
    assert found.applications[0].by_line == {"0": 50, "1": 20}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_arithmetic(kind: str):
    line = BasketLine("A", "a", "drinks", "goods", 100, 4, 400)
    terms = Terms(id="X", name="X", code="X", kind=kind, amount=1, buy=1, reward=1, currency="USD")
    assert work(Basket("USD", (line,), shipping=9), [terms], ["X"], Usage()).amount > 0
