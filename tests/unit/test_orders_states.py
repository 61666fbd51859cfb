"""The table of an order's states, and its picture."""

from pathlib import Path

import pytest

from domain.errors import InvalidTransition
from domain.orders import rules, states

PAGE = Path(__file__).parents[2] / "docs" / "orders.md"
STATES = {getattr(rules, name) for name in (
    "PENDING", "RESERVED", "REJECTED", "PAID", "EXPIRED", "CANCELLED", "FULFILLED", "COMPLETED", "REFUNDED",
)}  # fmt: skip


def test_the_table_reaches_every_state_and_no_other():
    assert {each.target for each in states.TRANSITIONS} | {rules.PENDING} == STATES
    assert {each.source for each in states.TRANSITIONS} <= STATES


def test_what_is_not_in_the_table_is_refused_with_what_is():
    states.require("order", rules.PAID, rules.FULFILLED)
    with pytest.raises(InvalidTransition) as refused:
        states.require("order", rules.FULFILLED, rules.PAID)
    assert refused.value.detail == {
        "order": "order",
        "state": "fulfilled",
        "wanted": "paid",
        "allowed": ["completed", "refunded"],
    }
    for state in (rules.REFUNDED, rules.CANCELLED):
        with pytest.raises(InvalidTransition) as refused:
            states.require("order", state, rules.REFUNDED)
        assert refused.value.detail["allowed"] == []


def test_a_paid_order_is_not_offered_its_cancelling_as_few_can_be():
    refused = states.refusal({"_id": "order", "state": rules.PAID}, rules.PAID)
    assert refused["allowed"] == ["fulfilled", "refunded"]


def test_the_page_shows_the_table_that_the_code_goes_by():
    assert f"```mermaid\n{states.diagram()}\n```" in PAGE.read_text(encoding="utf-8")
