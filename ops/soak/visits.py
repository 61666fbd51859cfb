"""What customers come for: visits that are decided beforehand, by a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from uuid import UUID

#: One visit in so many is a reservation.
RESERVE_EVERY = 8
#: Seconds from an order to what becomes of it, at most. Some of that is later than the holds' time.
LATEST = 6.5
CANCEL = "cancel"
#: What becomes of a reserved order: how often, of 100, and the sources it is paid from, or its cancelling.
FATES: dict[str, tuple[int, tuple[str, ...]]] = {
    "pay": (14, ("sandbox:approve",)),
    "pay after a refusal": (12, ("sandbox:decline", "sandbox:approve")),
    "pay, the answer is lost": (8, ("sandbox:timeout",)),
    "pay, the request is lost": (6, ("sandbox:timeout-unseen",)),
    "pay, answered twice": (6, ("sandbox:twice",)),
    "pay twice": (4, ("sandbox:approve", "sandbox:approve")),
    "pay and cancel": (3, ("sandbox:approve", CANCEL)),
    "cancel": (8, (CANCEL,)),
    "leave": (39, ()),
}
#: What becomes of a reservation.
RELEASE, ORDER, LEAVE = "release", "order", "leave"

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done with a reserved order: under which key, and how long after the one before."""

    what: str
    key: str
    after: float


@dataclass(frozen=True, slots=True)
class Visit:
    """Everything that comes of one order or reservation, decided beforehand."""

    key: str
    items: list[Body]
    #: "" for an order without a reservation.
    use: str
    order_key: str
    steps: tuple[Step, ...]
    looks_after: float


def visits(seed: str, skus: Sequence[str]) -> Iterator[Visit]:
    """What one customer does, for ever. The same seed gives the same visits."""
    chance = random.Random(seed)
    weights = [weight for weight, _ in FATES.values()]
    while True:
        wanted = chance.sample(list(skus), chance.randint(1, 3))
        items = [{"sku": sku, "quantity": chance.randint(1, 3)} for sku in wanted]
        _, steps = FATES[chance.choices(list(FATES), weights)[0]]
        use = chance.choice((RELEASE, ORDER, LEAVE)) if chance.randrange(RESERVE_EVERY) == 0 else ""
        yield Visit(
            key=_key(chance),
            items=items,
            use=use,
            order_key=_key(chance),
            steps=tuple(Step(what, _key(chance), chance.uniform(0, 0.5)) for what in steps),
            looks_after=LATEST * chance.random() ** 3,
        )


def at_once(visit: Visit) -> Visit:
    """The same, by somebody who never waits before the next thing."""
    steps = tuple(replace(step, after=0.0) for step in visit.steps)
    return replace(visit, steps=steps, looks_after=0.0)


def _key(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))
