from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import CurrencyMismatch, HoldEnded, OrderTooLarge, OutOfStock, UnknownSku
from domain.orders.commands import OrderItem, PlaceOrder
from domain.orders.pricing import price
from domain.orders.rules import (
    hold_for_payment,
    pending_view,
    rejected_order,
    reservation_error,
    reserved_order,
    view,
)
from domain.values import Money, utcnow
from tests.factories import ADDRESS

PRODUCTS = {
    "CHAI": {"name": "Chai", "price": {"amount": 18_00, "currency": "USD"}, "sellable": True},
    "TOFU": {"name": "Tofu", "price": {"amount": 23_25, "currency": "USD"}, "sellable": True},
    "TEA": {"name": "Tea", "price": {"amount": 5_00, "currency": "EUR"}, "sellable": True},
}


def payload(*items: OrderItem) -> list[dict[str, Any]]:
    """As the ledger keeps them."""
    return PlaceOrder(items=items, address=ADDRESS).payload()["items"]  # type: ignore[no-any-return]


def test_lines_without_an_agreed_price_are_priced_by_the_catalogue():
    priced = price(payload(OrderItem(sku="CHAI", quantity=2), OrderItem(sku="TOFU", quantity=1)), PRODUCTS)
    assert (priced.currency, priced.gross, priced.net) == ("USD", 59_25, 59_25)
    assert priced.lines[0] == {
        "sku": "CHAI", "name": "Chai", "quantity": 2, "unit_price": 18_00, "percent_off": "0",
        "gross": 36_00, "net": 36_00, "discount": 0, "tax": 0,
    }  # fmt: skip


def test_agreed_prices_and_percentages_are_kept_and_each_line_rounds_by_itself():
    # Northwind's order 10250: 7.70 x 10, 42.40 x 35 less 15 %, 16.80 x 15 less 15 %.
    items = payload(
        OrderItem(sku="CHAI", quantity=10, unit_price=Money(amount=7_70)),
        OrderItem(sku="TOFU", quantity=35, unit_price=Money(amount=42_40), percent_off=Decimal(15)),
        OrderItem(sku="CHAI", quantity=15, unit_price=Money(amount=16_80), percent_off=Decimal("15.00")),
    )
    priced = price(items, PRODUCTS)
    assert (priced.gross, priced.net) == (1813_00, 1552_60)
    assert [line["percent_off"] for line in priced.lines] == ["0", "15", "15"]


def test_a_price_of_nothing_that_was_agreed_is_not_the_catalogues():
    priced = price(payload(OrderItem(sku="CHAI", quantity=1, unit_price=Money(amount=0))), PRODUCTS)
    assert priced.net == 0


@given(
    cents=st.integers(0, 10**6),
    quantity=st.integers(1, 1000),
    points=st.integers(0, 10_000),
    n=st.integers(1, 5),
)
def test_totals_are_the_sums_of_the_lines(cents: int, quantity: int, points: int, n: int):
    item = OrderItem(
        sku="CHAI", quantity=quantity, unit_price=Money(amount=cents), percent_off=Decimal(points) / 100
    )
    priced = price(payload(*[item] * n), PRODUCTS)
    assert priced.gross == n * cents * quantity
    assert priced.net == n * Money(amount=cents).times(quantity).percent_off(Decimal(points) / 100).amount


def test_unknown_skus_are_all_named():
    items = payload(*(OrderItem(sku=sku, quantity=1) for sku in ("NO", "CHAI", "NONE", "NO")))
    with pytest.raises(UnknownSku) as refused:
        price(items, PRODUCTS)
    assert refused.value.detail == {"skus": ["NO", "NONE"]}


def test_an_order_has_one_currency():
    with pytest.raises(CurrencyMismatch) as refused:
        price(payload(OrderItem(sku="CHAI", quantity=1), OrderItem(sku="TEA", quantity=1)), PRODUCTS)
    assert refused.value.detail == {"currencies": ["EUR", "USD"]}


def test_an_order_whose_sum_would_not_be_exact_is_refused():
    dear = OrderItem(sku="CHAI", quantity=1_000_000, unit_price=Money(amount=10**12))
    with pytest.raises(OrderTooLarge):
        price(payload(dear), PRODUCTS)


NOW = utcnow()
JOB: dict[str, Any] = {
    "_id": "1",
    "owner": "ada",
    "created_at": NOW,
    "state": "queued",
    "payload": {
        "items": payload(OrderItem(sku="CHAI", quantity=2)),
        "address": ADDRESS.model_dump(),
        "reservation_id": "r",
    },
}
HOLD: dict[str, Any] = {
    "_id": "r",
    "account_id": "ada",
    "order_id": None,
    "state": "held",
    "lines": [{"stock_id": "main:CHAI", "sku": "CHAI", "quantity": 2}],
    "expires_at": NOW + timedelta(seconds=1),
}


@pytest.mark.parametrize(
    ("hold", "code"),
    [
        (HOLD, None),
        (None, "reservation_not_found"),
        (HOLD | {"account_id": "bob"}, "reservation_not_found"),
        (HOLD | {"state": "released"}, "reservation_ended"),
        (HOLD | {"state": "committed"}, "reservation_ended"),
        (HOLD | {"order_id": "another"}, "reservation_ended"),
        (HOLD | {"expires_at": NOW}, "reservation_ended"),
        (HOLD | {"lines": [{"sku": "CHAI", "quantity": 1}]}, "reservation_mismatch"),
        (HOLD | {"lines": [{"sku": "TOFU", "quantity": 2}]}, "reservation_mismatch"),
        (HOLD | {"lines": [*HOLD["lines"], {"sku": "TOFU", "quantity": 1}]}, "reservation_mismatch"),
    ],
)
def test_a_reservation_serves_its_owners_order_for_its_very_lines_while_it_is_held(
    hold: dict[str, Any] | None, code: str | None
):
    error = reservation_error(JOB, hold, now=NOW)
    assert (error.code if error else None) == code


def test_a_pending_order_is_shown_from_its_job():
    shown = pending_view(JOB)
    assert (shown["id"], shown["state"], shown["job_id"]) == ("1", "pending", "1")
    assert [each["state"] for each in shown["timeline"]] == ["pending"]


def test_an_order_that_was_cancelled_before_it_existed_is_shown_as_cancelled():
    history = [
        {"state": "queued", "at": NOW, "note": None},
        {"state": "cancelled", "at": NOW, "note": "by staff: ordered twice"},
    ]
    shown = pending_view(JOB | {"state": "cancelled", "history": history})
    assert shown["state"] == "cancelled"
    assert [(each["state"], each["actor"], each["reason"]) for each in shown["timeline"]] == [
        ("pending", JOB["owner"], "it was ordered"),
        ("cancelled", "staff", "ordered twice"),
    ]


def test_a_reserved_order_is_shown_with_when_it_expires_and_its_payments():
    order = reserved_order(JOB, price(JOB["payload"]["items"], PRODUCTS), hold=HOLD, now=NOW)
    payments = [{"_id": "p", "state": "declined", "reason": "declined_by_issuer"}]
    shown = view(order, payments=payments)
    assert (shown["state"], shown["net"], shown["lines"][0]["percent_off"]) == ("reserved", 36_00, 0.0)
    assert shown["expires_at"].endswith("Z")
    assert shown["payments"] == [{"id": "p", "state": "declined", "reason": "declined_by_issuer"}]
    assert [each["state"] for each in shown["timeline"]] == ["pending", "reserved"]


def test_an_order_that_is_no_longer_reserved_does_not_expire():
    order = reserved_order(JOB, price(JOB["payload"]["items"], PRODUCTS), hold=HOLD, now=NOW)
    assert view(order | {"state": "paid"}, payments=())["expires_at"] is None


def test_a_rejected_order_says_why_and_holds_nothing():
    priced = price(JOB["payload"]["items"], PRODUCTS)
    order = rejected_order(JOB, OutOfStock(lines=[]), priced, currency="USD", now=NOW)
    shown = view(order, payments=())
    assert (shown["state"], shown["hold_id"], shown["net"]) == ("rejected", None, 36_00)
    assert shown["rejection"]["code"] == "out_of_stock"


def test_an_order_that_could_not_be_priced_shows_what_was_wanted():
    order = rejected_order(JOB, HoldEnded(), None, currency="EUR", now=NOW)
    shown = view(order, payments=())
    assert (shown["currency"], shown["gross"], shown["lines"][0]["quantity"]) == ("EUR", 0, 2)


def test_a_hold_outlasts_two_answers_of_the_provider():
    assert hold_for_payment(timedelta(seconds=5)) > 2 * timedelta(seconds=5)
