from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.inventory.commands import Item, Reserve
from domain.inventory.reservations import new_hold, refusal
from domain.inventory.rules import (
    Level,
    Shelf,
    Shortage,
    Step,
    by_quantity,
    held_units,
    lock_key,
    steps,
    stock_id,
    units_by_sku,
)
from domain.inventory.strategies import STRATEGIES, Offer, Strategy, by_priority, strategy, strategy_named
from domain.values import utcnow

UNITS = st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 5), min_size=1)


def shelf(**available: int) -> Shelf:
    return Shelf({stock_id(sku): Level(units) for sku, units in available.items()})


def test_what_fits_is_not_short():
    assert shelf(A=3).short({"A": 3}) == []


def test_each_sku_that_is_missing_is_named_with_what_there_is():
    assert shelf(A=1, B=5, C=0).short({"C": 2, "B": 5, "A": 2}) == [
        Shortage("A", 2, 1, 1),
        Shortage("C", 2, 0, 0),
    ]


def test_what_is_taken_is_gone_for_the_rest_of_the_batch():
    stock = shelf(A=3)
    stock.take({"A": 2})
    assert stock.short({"A": 2}) == [Shortage("A", 2, 1, 1)]
    assert stock.short({"A": 1}) == []


@given(available=UNITS, orders=st.lists(UNITS, max_size=20))
def test_a_batch_never_takes_more_than_there_is(available: dict[str, int], orders: list[dict[str, int]]):
    stock = shelf(**available)
    for order in orders:
        if refusal(Counter(order), stock) is None:
            stock.take(order)
    for each, taken in stock.taken.items():
        assert taken <= stock.levels[each].available


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
    hold = {"lines": shelf(**units).take(units)}
    assert held_units([hold, hold]) == {stock_id(sku): 2 * count for sku, count in units.items()}
    assert [line["sku"] for line in hold["lines"]] == sorted(units)


def test_stock_is_of_a_sku_at_a_location_and_locks_are_of_a_sku():
    assert stock_id("A") == "main:A"
    assert stock_id("A", "leith") == "leith:A"
    assert lock_key("A") == "lock:sku:A"


def test_a_reservation_has_its_jobs_id_and_ends_after_the_hold_time():
    now = utcnow()
    job = {"_id": "1", "owner": "ada"}
    hold = new_hold(job, [], order_id=None, now=now, hold_time=now - now)
    assert (hold["_id"], hold["account_id"], hold["state"], hold["expires_at"]) == ("1", "ada", "held", now)


def test_a_command_reads_back_from_its_payload():
    command = Reserve(items=(Item(sku="A", quantity=2),))
    assert Reserve.model_validate(command.payload()) == command


# -- locations -----------------------------------------------------------------------------------------


def shelves(choose: Strategy = by_priority, **places: dict[str, int]) -> Shelf:
    """Stock by location, in the order of their priority."""
    levels = {
        stock_id(sku, place): Level(units) for place, stock in places.items() for sku, units in stock.items()
    }
    return Shelf(levels, tuple(places), choose)


def places_of(lines: list[dict[str, object]]) -> dict[object, object]:
    return {line["sku"]: str(line["stock_id"]).partition(":")[0] for line in lines}


def test_a_line_comes_from_the_first_location_that_has_all_of_it():
    stock = shelves(main={"A": 2, "B": 9}, leith={"A": 5, "B": 9})
    assert places_of(stock.take({"A": 3, "B": 3})) == {"A": "leith", "B": "main"}
    assert stock.taken == {"leith:A": 3, "main:B": 3}
    assert places_of(stock.take({"A": 2})) == {"A": "main"}
    assert places_of(stock.take({"A": 1})) == {"A": "leith"}


def test_no_line_is_split_and_the_refusal_says_what_one_location_has_and_what_all_have():
    stock = shelves(main={"A": 3}, leith={"A": 4})
    refused = refusal(Counter(A=5), stock)
    assert refused is not None
    assert refused.detail == {"lines": [{"sku": "A", "wanted": 5, "available": 4, "in_all": 7}]}
    assert refusal(Counter(A=4), stock) is None


def test_a_location_that_is_not_active_is_seen_and_not_taken_from():
    stock = Shelf({"main:A": Level(9), "leith:A": Level(1)}, ("leith",))
    assert stock.short({"A": 2}) == [Shortage("A", 2, 1, 1)]
    nowhere = Shelf({"main:A": Level(9)}, ())
    assert nowhere.knows("A")
    assert nowhere.short({"A": 1}) == [Shortage("A", 1, 0, 0)]


def test_most_left_empties_shelves_evenly():
    stock = shelves(strategy_named("most_left"), main={"A": 2}, leith={"A": 4})
    assert [places_of(stock.take({"A": 1}))["A"] for _ in range(4)] == ["leith", "leith", "main", "leith"]


def test_a_strategy_is_one_function_under_a_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("domain.inventory.strategies.STRATEGIES", dict(STRATEGIES))

    @strategy("last")
    def last(sku: str, units: int, offers: Sequence[Offer]) -> str:
        assert all(offer.left >= units for offer in offers)
        return offers[-1].location

    stock = shelves(strategy_named("last"), main={"A": 9}, leith={"A": 3}, dundee={"A": 1})
    assert places_of(stock.take({"A": 2})) == {"A": "leith"}
    with pytest.raises(ValueError, match="there are by_priority, last, most_left"):
        strategy_named("cheapest")


@given(
    places=st.dictionaries(st.sampled_from(["main", "leith", "dundee"]), UNITS, min_size=1),
    orders=st.lists(UNITS, max_size=20),
    name=st.sampled_from(sorted(STRATEGIES)),
)
def test_no_location_gives_more_than_it_has(
    places: dict[str, dict[str, int]], orders: list[dict[str, int]], name: str
):
    stock = shelves(strategy_named(name), **places)
    for order in orders:
        if not stock.short(order):
            assert held_units([{"lines": stock.take(order)}]).total() == sum(order.values())
    for each, taken in stock.taken.items():
        assert taken <= stock.levels[each].available


# -- low stock -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "by", "low", "turns"),
    [
        (Level(10, low_at=5), -4, False, False),
        (Level(10, low_at=5), -5, True, True),
        (Level(5, low_at=5, low=True), -1, True, False),
        (Level(5, low_at=5, low=True), 1, False, True),
        (Level(0, low_at=0, low=True), 1, False, True),
        (Level(1, low_at=0), -1, True, True),
        (Level(1), -1, False, False),
        # The threshold was raised, or taken away, since it was last told.
        (Level(9, low_at=9), -1, True, True),
        (Level(1, low=True), -1, False, True),
    ],
)
def test_stock_turns_when_it_crosses_its_threshold(level: Level, by: int, *, low: bool, turns: bool):
    step = Step.of(level, by)
    assert (step.low_after, step.turns) == (low, turns)
    assert (step.exactly == level.available) == turns


LEVELS = st.builds(Level, st.integers(0, 30), low_at=st.none() | st.integers(0, 20), low=st.booleans())


@given(level=LEVELS, by=st.integers(-10, 10).filter(bool), really=st.integers(0, 60))
def test_the_guard_of_a_step_lets_through_only_what_ends_as_was_decided(level: Level, by: int, really: int):
    step = Step.of(level, by)
    passes = step.least <= really and (step.most is None or really <= step.most)
    if step.exactly is not None:
        passes = really == step.exactly and really + by >= 0
    if passes:
        after = really + by
        assert after >= 0
        assert step.low_after == (level.low_at is not None and after <= level.low_at)


def test_one_step_serves_all_stock_that_it_changes_alike():
    levels = {"main:A": Level(50, low_at=5), "main:B": Level(60, low_at=5), "main:C": Level(6, low_at=5)}
    found = steps({"main:A": -2, "main:B": -2, "main:C": -2, "main:D": 0}, levels)
    assert sorted(found.values()) == [["main:A", "main:B"], ["main:C"]]
