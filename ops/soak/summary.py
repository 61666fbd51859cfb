"""What came of a run under faults."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Summary:
    """What was done, and what came of it. `violations` is empty where every promise was kept."""

    seed: int
    seconds: float
    #: Visits per second, of customers.
    rate: float = 0.0
    #: Jobs of all kinds that were answered 202.
    accepted: int = 0
    #: 202s that repeated an earlier one: retries of the client.
    replayed: int = 0
    #: Submissions that met no answer, or a 503, and were tried again.
    retried: int = 0
    #: Orders by the state that they ended in.
    orders: dict[str, int] = field(default_factory=dict)
    #: Jobs by kind and the state that they ended in.
    jobs: dict[str, int] = field(default_factory=dict)
    #: Kills of a worker of orders, and those that left locks behind: they hit a batch that was at work.
    worker_kills: int = 0
    worker_kills_in_batch: int = 0
    #: Jobs whose run was cut short by any kill, and which another worker took up.
    cut_short: int = 0
    #: [second, what, victim, seconds away], as it took place.
    faults: list[tuple[float, str, str, float]] = field(default_factory=list)
    #: Seconds from the last submission until every job was final, every hold ended and every event told.
    settled_after: float = 0.0
    oversold: int = 0
    #: Letters that came, and those that came again: a worker died between the mail server and the ledger.
    letters: int = 0
    letters_again: int = 0
    #: Webhooks that were taken, those that were taken again, and calls that the receiver failed on purpose.
    webhooks: int = 0
    webhooks_again: int = 0
    webhooks_refused: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, doubled, oversold or stuck."""
        return not self.violations

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {**asdict(self), "ok": self.ok}
