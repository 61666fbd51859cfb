"""Turns: in which order the jobs of many accounts are sent to a pool. Pure.

A job that waits for its turn is stored as unsent, with a time in a far future that nobody else uses: its
turn, in milliseconds. So the ledger's index of waiting jobs finds the jobs of a turn, at no cost of its own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: When turn 0 is.
HELD_FROM = datetime(9000, 1, 1, tzinfo=UTC)
#: Past every turn.
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
#: Jobs of one account in one turn.
QUANTUM = 16
#: The fewest and the most messages that a pool's queue is filled up to from those that wait for their turn.
LEAST_ROOM, MOST_ROOM = 32, 2000
_TURN = timedelta(milliseconds=1)


def turn_at(turn: int) -> datetime:
    """The `not_before` of a job that waits for this turn."""
    return HELD_FROM + turn * _TURN


def turn_of(not_before: datetime) -> int:
    """The turn that a job waits for."""
    return (not_before - HELD_FROM) // _TURN


def waits_for_turn(not_before: datetime | None) -> bool:
    """Whether a queued job waits for its turn, and not for a time."""
    return not_before is not None and not_before >= HELD_FROM


@dataclass(frozen=True, slots=True)
class Place:
    """The turn of an account's last job, and how many of its jobs have it."""

    turn: int
    jobs: int


def next_place(last: Place | None, *, reached: int) -> Place:
    """Where an account's next job goes: behind its own last one, and behind the turn that is being sent.

    So accounts take turns of `QUANTUM` jobs, whoever came first and with however many (start-time fair
    queueing).
    """
    if last is None or last.turn <= reached:
        return Place(reached + 1, 1)
    if last.jobs < QUANTUM:
        return Place(last.turn, last.jobs + 1)
    return Place(last.turn + 1, 1)


def next_room(room: int, *, ready: int) -> int:
    """How far to fill the queue: more where it was empty, as workers may have idled; less where half is left.

    A short queue is what lets a job that comes now be done soon.
    """
    if ready == 0:
        return min(room * 2, MOST_ROOM)
    if 2 * ready > room:
        return max(room * 3 // 4, LEAST_ROOM)
    return room
