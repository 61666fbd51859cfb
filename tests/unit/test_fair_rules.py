"""Turns: who is sent next, and how far a queue is filled."""

from collections import Counter

from domain.jobs.fair_rules import (
    HELD_FROM,
    LEAST_ROOM,
    MOST_ROOM,
    QUANTUM,
    Place,
    next_place,
    next_room,
    turn_at,
    turn_of,
    waits_for_turn,
)
from domain.values import utcnow


def places(count: int, *, reached: int = 0) -> list[int]:
    last: Place | None = None
    turns = []
    for _ in range(count):
        last = next_place(last, reached=reached)
        turns.append(last.turn)
    return turns


def test_a_turn_survives_the_store():
    assert turn_of(turn_at(123_456)) == 123_456
    assert turn_at(0) == HELD_FROM
    assert waits_for_turn(turn_at(7))
    assert not waits_for_turn(utcnow())
    assert not waits_for_turn(None)


def test_an_account_has_a_few_jobs_in_each_turn():
    counts = Counter(places(3 * QUANTUM))
    assert counts == {1: QUANTUM, 2: QUANTUM, 3: QUANTUM}


def test_who_comes_later_is_served_beside_what_is_left_of_a_flood():
    flood = places(100 * QUANTUM)
    late = places(2 * QUANTUM, reached=10)
    assert set(late) == {11, 12}
    assert max(flood) == 100


def test_nobody_is_given_a_turn_that_has_been_passed():
    assert next_place(Place(3, 1), reached=8) == Place(9, 1)
    assert next_place(Place(8, 1), reached=8) == Place(9, 1)
    assert next_place(Place(9, 1), reached=8) == Place(9, 2)


def test_a_queue_is_filled_further_while_workers_empty_it_and_less_while_they_do_not():
    assert next_room(32, ready=0) == 64
    assert next_room(MOST_ROOM, ready=0) == MOST_ROOM
    assert next_room(100, ready=30) == 100
    assert next_room(100, ready=60) == 75
    assert next_room(LEAST_ROOM, ready=LEAST_ROOM) == LEAST_ROOM
