"""How many calls one process has on their way to each endpoint."""

from contextlib import ExitStack
from datetime import timedelta

import pytest

from domain.errors import TryAgain
from domain.notifications.webhooks.places import LONGEST, RATE, SHORTEST, SLOW, Places

PATIENCE = timedelta(days=7)


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def places(watch: Watch, *, each: int = 2, slow: int = 3) -> Places:
    return Places(each=each, slow=slow, patience=PATIENCE, clock=watch)


def call(known: Places, endpoint_id: str, watch: Watch, seconds: float) -> None:
    with known.taken(endpoint_id):
        watch.now += seconds


def test_an_endpoint_has_so_many_places_and_another_its_own():
    watch = Watch()
    known = places(watch, each=8)
    call(known, "a", watch, 0.1)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(known.taken("a"))
        with pytest.raises(TryAgain) as refused, known.taken("a"):
            pass
        with known.taken("b"):
            pass
    assert refused.value.patience == PATIENCE
    with known.taken("a"):
        pass


def test_an_endpoint_that_is_slow_or_unknown_has_a_quarter_of_the_places():
    watch = Watch()
    known = places(watch, each=8, slow=100)

    def fit() -> int:
        with ExitStack() as stack:
            for taken in range(20):
                try:
                    stack.enter_context(known.taken("a"))
                except TryAgain:
                    return taken
        return 20

    assert fit() == 2
    call(known, "a", watch, 0.1)
    assert fit() == 8
    call(known, "a", watch, SLOW + 1)
    assert fit() == 2


def test_a_fast_endpoint_that_hangs_counts_as_slow_before_its_first_call_is_over():
    watch = Watch()
    known = places(watch, each=8)
    call(known, "a", watch, 0.1)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(known.taken("a"))
        watch.now += SLOW + 0.1
        with pytest.raises(TryAgain), known.taken("a"):
            pass
    call(known, "a", watch, 0.1)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(known.taken("a"))


def test_calls_to_a_fast_endpoint_come_again_no_faster_than_they_fit():
    watch = Watch()
    known = places(watch, each=8)
    call(known, "a", watch, 0.01)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(known.taken("a"))
        turns = []
        for _ in range(33):
            with pytest.raises(TryAgain) as refused, known.taken("a"):
                pass
            turns.append(refused.value.seconds)
    assert turns[-1] - turns[0] == pytest.approx(32 / (8 * RATE))


def test_a_place_is_free_again_after_a_call_that_raised():
    known = places(Watch(), each=1)
    with pytest.raises(ZeroDivisionError), known.taken("a"):
        raise ZeroDivisionError
    with known.taken("a"):
        pass


def test_those_without_a_place_come_again_one_after_the_other():
    watch = Watch()
    known = places(watch, each=8)
    call(known, "a", watch, 10)
    turns = []
    with known.taken("a"), known.taken("a"):
        for _ in range(200):
            with pytest.raises(TryAgain) as refused, known.taken("a"):
                pass
            turns.append(refused.value.seconds)
    assert turns == sorted(turns)
    assert turns[0] == SHORTEST
    # Two places of ten seconds each: one becomes free every five.
    assert turns[10] - turns[9] == pytest.approx(5)
    assert turns[-1] == LONGEST


def test_new_endpoints_that_hang_hold_so_many_places_together_and_leave_those_of_slow_and_quick_ones():
    watch = Watch()
    known = places(watch, each=8, slow=3)
    call(known, "slow", watch, SLOW + 1)
    call(known, "quick", watch, 0.1)
    with ExitStack() as stack:
        for endpoint in ("a", "a", "b", "slow", "quick"):
            stack.enter_context(known.taken(endpoint))
        for endpoint in ("b", "c"):
            with pytest.raises(TryAgain), known.taken(endpoint):
                pass


def test_slow_endpoints_share_places_until_they_are_faster():
    watch = Watch()
    known = places(watch, each=8)
    for endpoint in ("a", "b", "c"):
        call(known, endpoint, watch, SLOW + 1)
    with ExitStack() as stack:
        for endpoint in ("a", "a", "b"):
            stack.enter_context(known.taken(endpoint))
        with pytest.raises(TryAgain), known.taken("c"):
            pass
        with known.taken("quick"):
            pass
    call(known, "c", watch, 0.1)
    with ExitStack() as stack:
        for endpoint in ("a", "a", "b", "c"):
            stack.enter_context(known.taken(endpoint))
