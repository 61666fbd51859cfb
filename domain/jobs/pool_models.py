"""What processes count of the pools, and whose turn it is in them."""

from datetime import UTC, datetime

from beanie import Document

SLOTS = "pool_slots"
TURNS = "pool_turns"
#: Seconds of one slot; a minute is a whole number of them.
SLOT_SECONDS = 10


class PoolSlot(Document):
    """What all processes counted in ten seconds. `_id` is when they began: seconds since 1970."""

    id: int  # type: ignore[assignment]
    #: By pool, then by what was counted.
    pools: dict[str, dict[str, float]]

    class Settings:
        """Where. A few hundred documents: the last hour."""

        name = SLOTS


class PoolTurn(Document):
    """The last turn, of the jobs that wait for theirs, that was sent to a pool. `_id` is the pool."""

    id: str  # type: ignore[assignment]
    turn: int

    class Settings:
        """Where."""

        name = TURNS


def slot_of(at: datetime) -> int:
    """The slot that a moment is in."""
    return int(at.timestamp()) // SLOT_SECONDS * SLOT_SECONDS


def began(slot: int) -> datetime:
    """When the slot began."""
    return datetime.fromtimestamp(slot, UTC)
