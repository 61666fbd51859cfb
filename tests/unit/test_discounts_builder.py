"""A discount is built step by step and checked as a whole. No I/O."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain.discounts.builder import Discount
from domain.discounts.rules import ANY, Clause
from domain.errors import DiscountInvalid
from tests.discounts import eur, usd

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def rules(discount: Discount) -> list[str]:
    with pytest.raises(DiscountInvalid) as raised:
        discount.build()
    return [each["code"] for each in raised.value.detail["errors"]]


def test_every_step_is_in_the_terms():
    spring = (
        Discount.code("Spring").percent(20).on(category="Beverages").min_spend(usd(5000)).cap(usd(2000))
        .once_per_customer().limit(500).budget(usd(9000)).between(JUNE, JUNE + DAY).stackable_with("Loyal")
        .for_group("trade").priority(3).named("Spring sale").build()
    )  # fmt: skip
    assert (spring.code, spring.name, spring.kind, spring.percent) == (
        "SPRING",
        "Spring sale",
        "percent",
        Decimal(20),
    )
    assert spring.on == (Clause(category="Beverages"),)
    assert (spring.min_spend, spring.cap, spring.budget, spring.currency) == (5000, 2000, 9000, "USD")
    assert (spring.per_customer, spring.limit, spring.priority) == (1, 500, 3)
    assert (spring.starts_at, spring.ends_at) == (JUNE, JUNE + DAY)
    assert [set(spring.combines_with), set(spring.groups)] == [{"LOYAL"}, {"trade"}]


def test_a_builder_can_be_used_twice():
    base = Discount.code("A").percent(10)
    assert (base.limit(5).build().limit, base.build().limit) == (5, None)


def test_automatic_ones_have_a_name_and_no_code():
    launch = Discount.automatic("Launch week").free_shipping().stackable().build()
    assert (launch.code, launch.key, set(launch.combines_with)) == (None, "LAUNCH WEEK", {ANY})


def test_a_float_is_the_percentage_that_it_is_written_as():
    assert Discount.code("A").percent(7.35).build().percent == Decimal("7.35")


BROKEN: dict[str, Callable[[], Discount]] = {
    "code_form": lambda: Discount.code("SPR ING").percent(5),
    "name_form": lambda: Discount.automatic(" ").percent(5),
    "no_kind": lambda: Discount.code("A"),
    "two_kinds": lambda: Discount.code("A").percent(5).fixed(usd(5)),
    "percent_range": lambda: Discount.code("A").percent(100.01),
    "amount_positive": lambda: Discount.code("A").fixed(usd(0)),
    "cap_of_fixed": lambda: Discount.code("A").fixed(usd(5)).cap(usd(4)),
    "buy_get_units": lambda: Discount.code("A").buy(2),
    "get_without_buy": lambda: Discount.code("A").percent(50).get(1, 50),
    "empty_scope": lambda: Discount.code("A").percent(5).on(),
    "scope_form": lambda: Discount.code("A").percent(5).on(category="\0"),
    "too_many_scopes": lambda: _scopes(101),
    "too_many_groups": lambda: Discount.code("A").percent(5).for_group(*map(str, range(21))),
    "group_form": lambda: Discount.code("A").percent(5).for_group(""),
    "cap_positive": lambda: Discount.code("A").percent(5).cap(usd(0)),
    "budget_positive": lambda: Discount.code("A").percent(5).budget(usd(0)),
    "two_currencies": lambda: Discount.code("A").percent(5).cap(usd(1)).min_spend(eur(1)),
    "limit_range": lambda: Discount.code("A").percent(5).limit(0),
    "per_customer_range": lambda: Discount.code("A").percent(5).per_customer(-1),
    "per_customer_past_limit": lambda: Discount.code("A").percent(5).limit(1).per_customer(2),
    "period_order": lambda: Discount.code("A").percent(5).between(JUNE, JUNE),
    "period_zone": lambda: Discount.code("A").percent(5).between(JUNE.replace(tzinfo=None), None),
    "too_many_others": lambda: Discount.code("A").percent(5).stackable_with(*map(str, range(51))),
    "other_form": lambda: Discount.code("A").percent(5).stackable_with(" "),
    "any_and_others": lambda: Discount.code("A").percent(5).stackable().stackable_with("B"),
    "stacks_with_itself": lambda: Discount.code("A").percent(5).stackable_with("a"),
    "priority_range": lambda: Discount.code("A").percent(5).priority(1001),
}


def _scopes(count: int) -> Discount:
    discount = Discount.code("A").percent(5)
    for number in range(count):
        discount = discount.on(sku=str(number))
    return discount


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named(rule: str):
    assert rules(BROKEN[rule]()) == [rule]


@pytest.mark.parametrize("percent", [0, -1, "x", "NaN", "Infinity", 1e-5, Decimal("0.001")])
def test_a_percentage_is_above_0_and_at_most_100_with_two_decimals(percent: float | str | Decimal):
    assert rules(Discount.code("A").percent(percent)) == ["percent_range"]


def test_all_broken_rules_are_named_at_once():
    broken = Discount.code("-").percent(0).limit(0).between(JUNE, JUNE - DAY)
    assert rules(broken) == ["code_form", "percent_range", "limit_range", "period_order"]


def test_what_there_is_can_be_said_differently_but_its_kind_and_currency_stay():
    spring = Discount.code("SPRING").percent(20).cap(usd(500)).limit(5).build()
    edited = Discount.of(spring).percent(30).without("limit").build()
    assert (edited.percent, edited.cap, edited.limit) == (Decimal(30), 500, None)
    assert rules(Discount.of(spring).fixed(usd(5)).without("cap")) == ["two_kinds"]
    assert rules(Discount.of(spring).cap(eur(5))) == ["two_currencies"]
