"""What the demo finds wrong with a run."""

from collections import Counter
from typing import Any

import pytest

from ops.books import Books
from ops.demo.__main__ import plans
from ops.demo.passes import Outcome
from ops.demo.report import ALL_GROSS, ALL_NET, check
from ops.sample.northwind import Northwind

DATA = Northwind()
ENOUGH, SCARCE = plans(DATA.orders, DATA.products)
ALL = len(DATA.orders)


def right() -> tuple[Outcome, Outcome]:
    """Both passes as they should be."""
    told: dict[str, Any] = {"events": Counter({"order.reserved": 5}), "events_stored": 5}
    first = Outcome(ENOUGH, accepted=ALL, reserved=ALL, paid=ALL, gross=ALL_GROSS, net=ALL_NET, **told)
    ends: dict[str, Any] = {
        "reserved": 100,
        "rejected": ALL - 100,
        "paid": 90,
        "expired": 10,
        "sold_again": 3,
    }
    return first, Outcome(SCARCE, accepted=ALL, **ends, books=Books(sold=3119), **told)


def test_a_run_as_it_should_be_has_nothing_wrong():
    assert check(*right()) == []


@pytest.mark.parametrize(
    ("which", "changed", "said"),
    [
        (0, {"gross": ALL_GROSS - 1}, "gross is"),
        (0, {"net": ALL_NET + 1}, "net is"),
        (0, {"events_stored": 6}, "5 of 6 events were told"),
        (1, {"events_stored": 4}, "5 of 4 events were told"),
        (1, {"sold_again": 0}, "nothing that expired was sold again"),
        (1, {"paid": 100, "expired": 0}, "nothing that expired was sold again"),
        (1, {"paid": 89}, "orders paid and expired are 99, not 100"),
        (1, {"books": Books(sold=3120)}, "3120 units were sold of 3119"),
        (1, {"books": Books(wrong={"1@main": "below zero"})}, "1@main: below zero"),
    ],
)
def test_what_is_wrong_is_said(which: int, changed: dict[str, Any], said: str):
    passes = right()
    for name, value in changed.items():
        setattr(passes[which], name, value)
    (problem,) = check(*passes)
    assert said in problem
