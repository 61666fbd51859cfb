"""What is secret in a command."""

from typing import Annotated, Any

import pytest

from domain.jobs.commands import _KINDS, Command
from domain.jobs.masking import MASK, SECRET, masked
from domain.orders.commands import PayOrder
from domain.values import Value


class Inner(Value):
    name: str
    token: Annotated[str, SECRET]


@pytest.fixture
def kind():
    class Probe(Command):
        kind = "test.masking"
        pool = "orders"
        card: Annotated[str, SECRET] | None = None
        one: Inner | None = None
        many: tuple[Inner, ...] = ()
        plain: dict[str, int] | None = None

    yield Probe.kind
    del _KINDS[Probe.kind]


def test_the_source_of_a_payment_is_never_shown():
    command = PayOrder(order_id="o", source="tok_4711")
    assert masked(PayOrder.kind, command.payload()) == {"order_id": "o", "source": MASK}


def test_secrets_are_masked_wherever_they_are(kind: str):
    inner: dict[str, Any] = {"name": "a", "token": "t"}
    payload = {"card": "c", "one": inner, "many": [inner, inner], "plain": {"x": 1}}
    shown = {"name": "a", "token": MASK}
    expected = {"card": MASK, "one": shown, "many": [shown, shown], "plain": {"x": 1}}
    assert masked(kind, payload) == expected


def test_what_a_process_does_not_know_is_masked(kind: str):
    assert masked("no.such", {"a": 1, "b": {"c": 2}}) == {"a": MASK, "b": MASK}
    assert masked(kind, {"new_field": "x"}) == {"new_field": MASK}
    assert masked(kind, {"one": {"name": "a", "more": 1}, "many": ["odd"]}) == {
        "one": {"name": "a", "more": MASK},
        "many": ["odd"],
    }
