from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.inventory.commands import Item, Reserve
from domain.inventory.reservations import new_hold, refusal
from domain.inventory.rules import (
    Shelf,
    Shortage,
    by_quantity,
    held_units,
    hold_lines,
    lock_key,
    stock_id,
    units_by_sku,
)
from domain.values import utcnow

UNITS = st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 5), min_size=1)


def shelf(**available: int) -> Shelf:
    return Shelf({stock_id(sku): units for sku, units in available.items()})


def test_what_fits_is_not_short():
    assert shelf(A=3).short({"A": 3}) == []


def test_each_sku_that_is_missing_is_named_with_what_there_is():
    assert shelf(A=1, B=5, C=0).short({"C": 2, "B": 5, "A": 2}) == [Shortage("A", 2, 1), Shortage("C", 2, 0)]


def test_what_is_taken_is_gone_for_the_rest_of_the_batch():
    stock = shelf(A=3)
    stock.take({"A": 2})
    assert stock.short({"A": 2}) == [Shortage("A", 2, 1)]
    assert stock.short({"A": 1}) == []


@given(available=UNITS, orders=st.lists(UNITS, max_size=20))
def test_a_batch_never_takes_more_than_there_is(available: dict[str, int], orders: list[dict[str, int]]):
    stock = shelf(**available)
    for order in orders:
        if refusal(Counter(order), stock) is None:
            stock.take(order)
    for each, taken in stock.taken.items():
        assert taken <= stock.available[each]


def test_an_unknown_sku_is_told_from_an_empty_shelf():
    unknown = refusal(Counter(A=1, GHOST=1), shelf(A=1))
    empty = refusal(Counter(A=2), shelf(A=1))
    assert unknown is not None
    assert empty is not None
    assert (unknown.code, unknown.detail) == ("unknown_sku", {"skus": ["GHOST"]})
    assert (empty.code, empty.detail) == (
        "out_of_stock",
        {"lines": [{"sku": "A", "wanted": 2, "available": 1}]},
    )


def test_stock_ids_are_grouped_by_quantity_so_that_one_update_serves_many():
    assert by_quantity({"main:B": 2, "main:A": 2, "main:C": 1, "main:D": 0}) == {
        2: ["main:A", "main:B"],
        1: ["main:C"],
    }


def test_lines_of_one_sku_are_added_up():
    items = [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}, {"sku": "A", "quantity": 3}]
    assert units_by_sku(items) == {"A": 4, "B": 2}


@given(units=UNITS)
def test_a_hold_keeps_the_units_that_were_wanted(units: dict[str, int]):
    hold = {"lines": hold_lines(units)}
    assert held_units([hold, hold]) == {stock_id(sku): 2 * count for sku, count in units.items()}
    assert [line["sku"] for line in hold["lines"]] == sorted(units)


def test_stock_is_of_a_sku_at_a_location_and_locks_are_of_a_sku():
    assert stock_id("A") == "main:A"
    assert stock_id("A", "leith") == "leith:A"
    assert lock_key("A") == "lock:sku:A"


def test_a_reservation_has_its_jobs_id_and_ends_after_the_hold_time():
    now = utcnow()
    job = {"_id": "1", "owner": "ada"}
    hold = new_hold(job, Counter(A=1), order_id=None, now=now, hold_time=now - now)
    assert (hold["_id"], hold["account_id"], hold["state"], hold["expires_at"]) == ("1", "ada", "held", now)


def test_a_command_reads_back_from_its_payload():
    command = Reserve(items=(Item(sku="A", quantity=2),))
    assert Reserve.model_validate(command.payload()) == command
