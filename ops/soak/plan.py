"""Which faults there are, and when: by a seed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Seconds that a victim stays away, at least and at most.
AWAY = (0.0, 2.0)
#: The schedule of the long form.
FULL_PLAN = {
    "kill worker": 20, "stop worker": 2, "kill inventory": 4, "stop inventory": 1,
    "kill notifications": 4, "stop notifications": 1,
    "kill api": 4, "stop api": 2, "kill scheduler": 2,
    "kill rabbitmq": 2, "stop rabbitmq": 2, "kill valkey": 2, "stop valkey": 2,
    "kill mongo": 2, "stop mongo": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """`how` is kill (SIGKILL) or stop (SIGTERM).

    `target` is worker (of the pool `orders`), another pool (for a worker of it), api, scheduler or a server's
    slug.
    """

    at: float
    how: str
    target: str
    away: float


def plan_of(counts: Mapping[str, int]) -> list[str]:
    """`{"kill worker": 2}` as a plan: one entry per fault."""
    return [what for what, count in counts.items() for _ in range(count)]


def schedule(plan: Sequence[str], *, seed: int, seconds: float) -> list[Fault]:
    """The plan's faults in a seeded order at seeded moments. The same seed gives the same schedule."""
    chance = random.Random(seed)
    what = sorted(plan)
    chance.shuffle(what)
    moments = sorted(chance.uniform(0.05, 0.95) * seconds for _ in what)
    faults = []
    for at, entry in zip(moments, what, strict=True):
        how, _, target = entry.partition(" ")
        faults.append(Fault(at=round(at, 2), how=how, target=target, away=round(chance.uniform(*AWAY), 2)))
    return faults
