from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from domain.settings import Jobs
from domain.values import (
    Duration,
    Money,
    Percent,
    Prose,
    Quantity,
    Sku,
    Text,
    id_floor,
    new_id,
    parse_duration,
    utcnow,
)


@pytest.mark.parametrize(
    ("cents", "percent", "left"),
    [
        (1, "50", 1),  # half a cent goes up
        (5, "10", 5),
        (15, "10", 14),
        (25, "10", 23),
        (1, "50.01", 0),
        (999, "33.33", 666),
        (1000, "0", 1000),
        (1000, "100", 0),
        (0, "15", 0),
        # Lines of Northwind: order 10250's second and third, 10254's first two, 10248's whole.
        (42_40 * 35, "15", 1261_40),
        (16_80 * 15, "15", 214_20),
        (3_60 * 15, "15", 45_90),
        (19_20 * 21, "15", 342_72),
        (14_00 * 12 + 9_80 * 10 + 34_80 * 5, "0", 440_00),
    ],
)
def test_a_percentage_is_taken_off_and_half_a_cent_rounds_up(cents: int, percent: str, left: int):
    assert Money(amount=cents).percent_off(Decimal(percent)) == Money(amount=left)


@given(cents=st.integers(0, 10**9), points=st.integers(0, 10_000))
def test_what_is_left_is_within_half_a_cent_and_never_negative(cents: int, points: int):
    percent = Decimal(points) / 100
    exact = Decimal(cents) * (100 - percent) / 100
    left = Money(amount=cents).percent_off(percent).amount
    assert 0 <= left <= cents
    assert Decimal("-0.5") < left - exact <= Decimal("0.5")


def test_an_amount_for_many_units_keeps_its_currency():
    assert Money(amount=12_34, currency="EUR").times(3) == Money(amount=37_02, currency="EUR")


@pytest.mark.parametrize("amount", [1.5, "12", True, -1, 10**12 + 1, None])
def test_money_is_a_whole_number_of_cents(amount: object):
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": amount})


@pytest.mark.parametrize("currency", ["usd", "US", "USDX", ""])
def test_a_currency_is_three_capital_letters(currency: str):
    with pytest.raises(ValidationError):
        Money(amount=1, currency=currency)


def test_money_cannot_be_changed_and_takes_no_unknown_field():
    with pytest.raises(ValidationError):
        Money(amount=1).amount = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": 1, "cents": 2})


@pytest.mark.parametrize("quantity", [0, -1, 10**9, 1.5, "3", True])
def test_a_quantity_is_a_whole_number_from_one_to_a_million(quantity: object):
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(quantity)


@pytest.mark.parametrize("sku", ["", "-1", "a b", "a/b", "a\n", "x" * 65, "$where"])
def test_what_is_no_sku_is_refused(sku: str):
    with pytest.raises(ValidationError):
        TypeAdapter(Sku).validate_python(sku)


@pytest.mark.parametrize("percent", ["-0.01", "100.01", "1.234", "nan", "inf"])
def test_a_percentage_is_between_0_and_100_with_two_decimals(percent: str):
    with pytest.raises(ValidationError):
        TypeAdapter(Percent).validate_python(percent)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("3s", timedelta(seconds=3)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        (" 30d ", timedelta(days=30)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta):
    assert TypeAdapter(Duration).validate_python(text) == duration


@pytest.mark.parametrize("text", ["", "3", "s", "1.5s", "-3s", "3 s", "1h30m", "3S"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_settings_are_written_as_durations(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOCKYARD_JOBS_LEASE", "45s")
    assert Jobs().lease == timedelta(seconds=45)


def test_ids_sort_by_the_time_that_they_were_made():
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_the_floor_of_a_time_is_below_its_ids_and_above_earlier_ones():
    before = new_id()
    floor = id_floor(utcnow() + timedelta(milliseconds=1))
    assert before < floor
    assert id_floor(utcnow() - timedelta(seconds=1)) < new_id() < id_floor(utcnow() + timedelta(seconds=1))
    # The example of RFC 9562, appendix A.6.
    example = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    assert id_floor(example) == "017f22e2-79b0-7000-8000-000000000000"


def test_the_time_is_utc_and_cut_to_the_millisecond():
    now = utcnow()
    assert now.utcoffset() == timedelta()
    assert now.microsecond % 1000 == 0


LINE = TypeAdapter(Annotated[Text, Field(max_length=5)])
LINES = TypeAdapter(Annotated[Prose, Field(max_length=5)])


@pytest.mark.parametrize("kind", [LINE, LINES])
def test_text_is_stripped_and_measured_after_that(kind: TypeAdapter[str]):
    assert kind.validate_python("  Ad\u00e9  \t\n") == "Ad\u00e9"
    for odd in ("", " ", "\t\n", "\u2003", "a\0b", "a\x1bb", "a\x7fb", "a\x85b", "abcdef"):
        with pytest.raises(ValidationError):
            kind.validate_python(odd)


def test_only_prose_has_several_lines():
    assert LINES.validate_python("a\n\tb") == "a\n\tb"
    for odd in ("a\nb", "a\tb", "a\rb"):
        with pytest.raises(ValidationError):
            LINE.validate_python(odd)
