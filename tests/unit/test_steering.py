"""How many workers a host runs, by hand-worked cases."""

import pytest

from ops.steering import Bounds, Steering


def steering(least: int = 1, most: int = 8) -> Steering:
    return Steering(Bounds("media", least, most), grow_pause=5, shrink_after=60)


def test_bounds_are_read():
    assert Bounds.parse("orders=1..4") == Bounds("orders", 1, 4)
    assert Bounds.parse("media=0..12") == Bounds("media", 0, 12)


@pytest.mark.parametrize(
    "text", ["orders", "orders=4", "orders=4..1", "orders=0..0", "orders=-1..2", "=1..2"]
)
def test_bounds_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match="bound"):
        Bounds.parse(text)


def test_it_grows_at_once_and_at_most_to_the_double():
    hand = steering()
    assert hand.wanted(8, running=1, others=0, now=0) == 2
    assert hand.wanted(8, running=2, others=0, now=4) == 2
    assert hand.wanted(8, running=2, others=0, now=5) == 4
    assert hand.wanted(5, running=4, others=0, now=10) == 5


def test_it_starts_the_fewest_without_being_asked_and_passes_no_bound():
    hand = steering(least=2, most=3)
    assert hand.wanted(0, running=0, others=0, now=0) == 2
    assert hand.wanted(99, running=3, others=0, now=50) == 3


def test_workers_elsewhere_count():
    assert steering().wanted(4, running=1, others=3, now=0) == 1
    assert steering(least=0).wanted(1, running=0, others=0, now=0) == 1


def test_it_shrinks_one_by_one_and_only_after_patience():
    hand = steering()
    assert hand.wanted(1, running=3, others=0, now=0) == 3
    assert hand.wanted(1, running=3, others=0, now=59) == 3
    assert hand.wanted(1, running=3, others=0, now=60) == 2
    assert hand.wanted(1, running=2, others=0, now=61) == 2
    assert hand.wanted(1, running=2, others=0, now=120) == 1
    assert hand.wanted(0, running=1, others=0, now=999) == 1


def test_a_moment_of_need_begins_the_patience_anew():
    hand = steering()
    hand.wanted(1, running=2, others=0, now=0)
    assert hand.wanted(2, running=2, others=0, now=59) == 2
    assert hand.wanted(1, running=2, others=0, now=61) == 2
    assert hand.wanted(1, running=2, others=0, now=120) == 2
    assert hand.wanted(1, running=2, others=0, now=121) == 1


def test_it_may_shrink_to_nobody_and_comes_back():
    hand = steering(least=0)
    hand.wanted(0, running=1, others=0, now=0)
    assert hand.wanted(0, running=1, others=0, now=60) == 0
    assert hand.wanted(1, running=0, others=0, now=61) == 1
