"""What carts hold, without a store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.carts.rules import (
    REMEMBERED,
    Addition,
    Content,
    Limits,
    Line,
    Ordered,
    added,
    merged,
    ordered,
    problems,
    stock_hint,
    with_codes,
    with_quantity,
    without,
)
from domain.errors import CartChanged, CartLimit, IdempotencyKeyReused, NotFound
from domain.values import Money

LIMITS = Limits(lines=3, quantity=100, codes=2)
TEN, TWELVE = Money(amount=1000), Money(amount=1200)


def line(sku: str, quantity: int, seen: Money = TEN) -> Line:
    return Line(id=f"line-{sku}", sku=sku, quantity=quantity, seen=seen)


def cart(**units: int) -> Content:
    return Content(lines=tuple(line(sku, quantity) for sku, quantity in units.items()))


def units(content: Content) -> dict[str, int]:
    return {each.sku: each.quantity for each in content.lines}


def taking(content: Content) -> list[Ordered]:
    return [Ordered(id=each.id, sku=each.sku, quantity=each.quantity) for each in content.lines]


def add(content: Content, sku: str, quantity: int, key: str, price: Money = TEN) -> Content:
    return added(content, Addition(key=key, sku=sku, quantity=quantity), price=price, limits=LIMITS)


def test_an_addition_counts_once_per_key_and_keeps_the_price_that_was_seen_first():
    once = add(Content(), "A", 2, "k")
    assert add(once, "A", 2, "k", TWELVE) == once
    twice = add(once, "A", 3, "l", TWELVE)
    assert (units(twice), twice.lines[0].seen) == ({"A": 5}, TEN)
    with pytest.raises(IdempotencyKeyReused):
        add(once, "A", 3, "k")


def test_a_cart_remembers_its_latest_additions_only():
    content = Content()
    for n in range(REMEMBERED + 10):
        content = add(content, "A", 1, f"k{n}")
    assert (len(content.added), content.lines[0].quantity) == (REMEMBERED, REMEMBERED + 10)


def test_a_cart_has_its_limits():
    with pytest.raises(CartLimit):
        add(cart(A=100), "A", 1, "k")
    with pytest.raises(CartLimit):
        add(cart(A=1, B=1, C=1), "D", 1, "k")
    with pytest.raises(CartLimit):
        with_quantity(cart(A=1), "A", 101, seen=None, price=TEN, limits=LIMITS)


def test_a_price_is_taken_note_of_only_if_it_is_the_price_of_now():
    changed = with_quantity(cart(A=1), "A", 2, seen=TWELVE, price=TWELVE, limits=LIMITS)
    assert changed.lines[0].seen == TWELVE
    assert with_quantity(cart(A=1), "A", 2, seen=None, price=TWELVE, limits=LIMITS).lines[0].seen == TEN
    with pytest.raises(CartChanged):
        with_quantity(cart(A=1), "A", 2, seen=TEN, price=TWELVE, limits=LIMITS)
    with pytest.raises(NotFound):
        with_quantity(cart(A=1), "B", 2, seen=None, price=TEN, limits=LIMITS)


def test_a_line_that_is_not_there_is_removed_without_a_word():
    assert units(without(cart(A=1, B=2), "A")) == {"B": 2}
    assert without(cart(A=1), "B") == cart(A=1)
    assert with_codes(cart(), ["A", "B", "A"]).codes == ("A", "B")


def test_merging_adds_up_within_the_limits_and_says_what_was_left_out():
    content, left_out = merged(cart(A=90, B=1), cart(A=20, C=1, D=1), LIMITS)
    assert units(content) == {"A": 100, "B": 1, "C": 1}
    assert left_out == [{"sku": "A", "quantity": 10}, {"sku": "D", "quantity": 1}]


@pytest.mark.parametrize(("own", "other"), [(TEN, TWELVE), (TWELVE, TEN)])
def test_of_two_prices_that_were_seen_the_lower_one_is_kept(own: Money, other: Money):
    content, _ = merged(Content(lines=(line("A", 1, own),)), Content(lines=(line("A", 1, other),)), LIMITS)
    assert content.lines[0].seen == TEN


skus = st.dictionaries(st.sampled_from("ABCDE"), st.integers(1, 100), max_size=3)


@given(skus, skus)
def test_a_merge_makes_and_loses_no_units(one: dict[str, int], other: dict[str, int]):
    content, left_out = merged(cart(**one), cart(**other), LIMITS)
    assert len(content.lines) <= LIMITS.lines
    assert all(each.quantity <= LIMITS.quantity for each in content.lines)
    lost = sum(each["quantity"] for each in left_out)
    assert sum(units(content).values()) + lost == sum(one.values()) + sum(other.values())


def test_an_order_takes_what_it_names_and_leaves_what_came_since():
    before = Content(lines=cart(A=2, B=1).lines, codes=("X", "Y"))
    grown = add(add(before, "A", 3, "k"), "C", 1, "l")
    left = ordered(grown, taking(before), ["X"])
    assert (units(left), left.codes) == ({"A": 3, "C": 1}, ("Y",))
    # The same units cannot be ordered again, not even where as many are there.
    with pytest.raises(CartChanged):
        ordered(left, taking(before), [])


@given(skus, st.data())
def test_units_are_ordered_once(held: dict[str, int], data: st.DataObject):
    content = cart(**held)
    taken = [
        Ordered(id=each.id, sku=each.sku, quantity=data.draw(st.integers(1, each.quantity)))
        for each in content.lines
    ]
    left = ordered(content, taken, [])
    assert sum(units(left).values()) == sum(held.values()) - sum(each.quantity for each in taken)
    if taken:
        with pytest.raises(CartChanged):
            ordered(left, taken, [])


def test_a_line_says_what_is_wrong_with_it():
    fact = {"price": {"amount": 1000, "currency": "USD"}, "sellable": True}
    assert problems(line("A", 1), fact) == []
    assert problems(line("A", 1, TWELVE), fact) == ["price_changed"]
    assert problems(line("A", 1), fact | {"sellable": False}) == ["not_for_sale"]
    assert problems(line("A", 1), None) == ["not_for_sale"]
    assert [stock_hint(left, 2) for left in (2, 1, 0)] == [[], ["short"], ["out_of_stock"]]
