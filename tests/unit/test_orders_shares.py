"""What is left of an order, and what it is worth: to the cent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from domain.errors import NothingLeft, TooManyUnits
from domain.orders.rules import due
from domain.orders.shares import (
    fits,
    fulfilment_of,
    is_sent,
    refund_of,
    refunded,
    share,
    to_refund,
    to_send,
)


def line(sku: str, quantity: int, net: int, *, discount: int = 0, tax: int = 0) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "net": net, "discount": discount, "tax": tax}


def order(*lines: dict[str, Any], shipping: int = 0, tax_included: bool = False) -> dict[str, Any]:
    net = sum(each["net"] for each in lines)
    discount, tax = sum(each["discount"] for each in lines), sum(each["tax"] for each in lines)
    total = net - discount + shipping + (0 if tax_included else tax)
    return {
        "_id": "order",
        "lines": list(lines),
        "net": net,
        "shipping": shipping,
        "tax_included": tax_included,
        "total": total,
    }


def paid_back(found: dict[str, Any], part: dict[str, Any], state: str = "done") -> dict[str, Any]:
    return found | {"refunds": [*found.get("refunds", ()), part | {"state": state}]}


def test_a_line_of_ten_for_three_units_is_333_334_333():
    found, amounts = order(line("A", 3, 1000)), []
    for _ in range(3):
        part = refund_of(found, {"A": 1})
        amounts.append(part["amount"])
        found = paid_back(found, part)
    assert amounts == [333, 334, 333]
    with pytest.raises(NothingLeft):
        refund_of(found, None)


def test_discount_and_tax_are_shared_by_line_and_shipping_comes_with_the_last_unit():
    found = order(line("A", 2, 2000, discount=500, tax=300), line("B", 1, 700, tax=140), shipping=450)
    first = refund_of(found, {"A": 1})
    assert (first["amount"], first["other"]) == (900, 0)
    found = paid_back(found, first)
    last = refund_of(found, None)
    assert [part["amount"] for part in last["lines"]] == [900, 840]
    assert (last["other"], last["amount"]) == (450, 2190)
    assert first["amount"] + last["amount"] == due(found)


def test_tax_that_is_in_the_price_is_not_paid_back_twice():
    assert refund_of(order(line("A", 1, 1200, tax=200), tax_included=True), None)["amount"] == 1200


def test_a_refund_that_was_refused_leaves_its_units_and_its_money():
    found = paid_back(order(line("A", 2, 2000)), refund_of(order(line("A", 2, 2000)), None), "refused")
    assert (to_refund(found), refunded(found)) == ([2], 0)
    assert refund_of(found, None)["amount"] == 2000


def test_two_lines_of_one_sku_are_taken_in_their_order():
    found = order(line("A", 1, 1000), line("A", 2, 1000))
    assert refund_of(found, {"A": 2})["lines"] == [
        {"line": 0, "sku": "A", "quantity": 1, "amount": 1000},
        {"line": 1, "sku": "A", "quantity": 1, "amount": 500},
    ]


def test_more_units_than_are_left_are_refused_with_what_is_left():
    with pytest.raises(TooManyUnits) as refused:
        refund_of(
            paid_back(order(line("A", 2, 2000)), refund_of(order(line("A", 2, 2000)), {"A": 1})), {"A": 2}
        )
    assert refused.value.detail["lines"] == [{"sku": "A", "wanted": 2, "left": 1}]
    with pytest.raises(TooManyUnits):
        refund_of(order(line("A", 2, 2000)), {"B": 1})


def test_an_amount_that_was_refunded_without_units_is_not_refunded_again_with_them():
    found = paid_back(order(line("A", 2, 2000)), {"lines": [], "other": 1500, "amount": 1500})
    last = refund_of(found, None)
    assert (last["amount"], last["other"], last["lines"][0]["amount"]) == (500, 0, 500)


def test_an_order_that_cost_nothing_can_be_refunded_for_its_units():
    assert refund_of(order(line("A", 1, 500, discount=500)), None)["amount"] == 0


def test_what_is_refunded_is_not_sent_and_what_is_sent_is_not_sent_again():
    found = order(line("A", 3, 3000), line("B", 1, 500))
    found = paid_back(found, refund_of(found, {"A": 1}))
    assert to_send(found) == [2, 1]
    found |= {"fulfilments": [{"lines": fulfilment_of(found, {"A": 2})}]}
    assert (to_send(found), is_sent(found)) == ([0, 1], False)
    assert is_sent(paid_back(found, refund_of(found, {"B": 1})))
    with pytest.raises(TooManyUnits):
        fulfilment_of(found, {"A": 1})


def test_only_a_refund_whose_money_is_back_leaves_nothing_to_send():
    found = order(line("A", 2, 1000)) | {"fulfilments": [{"lines": [{"line": 0, "sku": "A", "quantity": 1}]}]}
    part = refund_of(found, {"A": 1}) | {"id": "back"}
    begun = paid_back(found, part, "started")
    assert (to_send(begun), is_sent(begun), is_sent(begun, made="back")) == ([0], False, True)
    assert (to_send(paid_back(found, part, "refused")), is_sent(paid_back(found, part))) == ([1], True)


def test_a_refund_that_was_refused_fits_until_its_units_or_its_money_are_gone():
    part = refund_of(order(line("A", 2, 1000)), {"A": 2}) | {"id": "back"}
    refused = paid_back(order(line("A", 2, 1000)), part, "refused")
    assert fits(refused, part)
    assert not fits(paid_back(refused, refund_of(refused, {"A": 1})), part)
    assert not fits(paid_back(refused, {"id": "x", "lines": [], "other": 1, "amount": 1}), part)


def test_a_unit_that_was_sent_can_come_back_although_nothing_is_left_to_send():
    found = order(line("A", 2, 2000)) | {"fulfilments": [{"lines": [{"line": 0, "sku": "A", "quantity": 2}]}]}
    with pytest.raises(NothingLeft):
        fulfilment_of(found, None)
    assert refund_of(found, {"A": 1})["amount"] == 1000


@given(
    some.lists(
        some.tuples(some.integers(1, 7), some.integers(0, 10**6), some.integers(0, 99)),
        min_size=1,
        max_size=4,
    ),
    some.integers(0, 5000),
    some.data(),
)
def test_refunds_in_any_pieces_add_up_to_what_was_paid(
    lines: list[tuple[int, int, int]], shipping: int, data: some.DataObject
):
    found = order(
        *(line(f"S{n}", units, net, discount=net * off // 100) for n, (units, net, off) in enumerate(lines)),
        shipping=shipping,
    )
    while any(to_refund(found)):
        wanted = {
            each["sku"]: units
            for each, left in zip(found["lines"], to_refund(found), strict=True)
            if (units := data.draw(some.integers(0, left)))
        }
        part = refund_of(found, wanted or None)
        assert part["amount"] >= 0
        assert sum(each["amount"] for each in part["lines"]) + part["other"] == part["amount"]
        found = paid_back(found, part)
        assert refunded(found) <= due(found)
    assert refunded(found) == due(found)


def test_a_share_rounds_half_up():
    assert [share(5, units=n, of=10) for n in (1, 3, 5, 10)] == [1, 2, 3, 5]
