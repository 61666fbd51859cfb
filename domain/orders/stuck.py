"""What does not get on: jobs, holds and news that should have moved by now; why, and what helps."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.changes import Database, Doc
from domain.events.models import OUTBOX
from domain.inventory.models import HOLDS
from domain.inventory.rules import HELD
from domain.jobs.commands import pools
from domain.jobs.dead import DeadJobs, Selection
from domain.jobs.fair_rules import waits_for_turn
from domain.jobs.models import JOBS
from domain.jobs.rules import QUEUED, RUNNING, waiting_since
from domain.orders.commands import PlaceOrder
from domain.settings import Jobs as JobSettings
from domain.values import Clock, id_floor

#: How long something may take before it is stuck, where nobody says.
AFTER = timedelta(minutes=5)
#: The most findings of each kind, and the jobs of a pool that are looked at for them.
MOST, LOOKED_AT = 50, 500
#: What the scheduler needs to do its part.
GRACE = timedelta(seconds=10)
_EPOCH = datetime.fromtimestamp(0, UTC)
_JOB = dict.fromkeys(
    ("kind", "pool", "subject", "created_at", "not_before", "dispatched_at", "attempts", "error",
     "started_at", "lease_until", "failing_since", "finished_at", "waits_since"), 1,
)  # fmt: skip

#: Which pools are paused now.
Paused = Callable[[], Awaitable[frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Stuck:
    """One finding. `repair` names the verb that `Repairs` has for it; None where there is none."""

    what: str
    #: `job`, `hold`, `order` or `events`, and its id.
    thing: str
    id: str
    since: datetime
    says: str
    repair: str | None
    kind: str | None = None
    pool: str | None = None
    subject: str | None = None

    def form(self, *, now: datetime) -> dict[str, Any]:
        """With how long it has been so, in seconds."""
        return {**asdict(self), "seconds": round((now - self.since).total_seconds())}


class StuckFinder:
    """Looks by indexes alone: as cheap over a large ledger as over a small one."""

    def __init__(
        self, *, database: Database, dead: DeadJobs, paused: Paused, settings: JobSettings, clock: Clock
    ) -> None:
        self._database = database
        self._dead = dead
        self._paused = paused
        self._settings = settings
        self._clock = clock

    async def find(self, *, after: timedelta = AFTER) -> list[Stuck]:
        """What has been as it is for longer than `after`, the oldest first; at most `MOST` of each kind."""
        now = self._clock()
        found = [
            *await self._waiting(now, after),
            *await self._running(now, after),
            *await self._overdue_holds(now),
            *await self._untold(now, after),
            *await self._never_placed(now),
        ]
        return sorted(found, key=lambda each: each.since)

    async def _waiting(self, now: datetime, after: timedelta) -> list[Stuck]:
        paused, found = await self._paused(), list[Stuck]()
        for pool in pools():
            query = {"pool": pool, "state": QUEUED, "not_before": {"$gt": _EPOCH}}
            rows = self._database[JOBS].find(query, _JOB).sort("not_before").limit(LOOKED_AT)
            late = [row async for row in rows if now - _since(row) > after]
            found += [self._waits(row, now, is_paused=pool in paused) for row in late[:MOST]]
        return found

    def _waits(self, row: Doc, now: datetime, *, is_paused: bool) -> Stuck:
        what, says, repair = next(self._reasons(row, now, is_paused=is_paused))
        return _job(row, what, says, repair, since=_since(row))

    def _reasons(self, row: Doc, now: datetime, *, is_paused: bool) -> Iterator[tuple[str, str, str | None]]:
        pool, sent = row["pool"], row["dispatched_at"]
        if is_paused:
            yield "job_paused", f"The pool {pool} is paused: resume it.", None
        if waits_for_turn(row["not_before"]):
            yield (
                "job_held",
                "Its account has many jobs in the queue; this one waits for its turn.",
                "expedite",
            )
        if row.get("failing_since") and row.get("error"):
            times = f"{row['attempts']} of {self._settings.max_attempts} runs"
            code = row["error"]["code"]
            yield "job_retrying", f"It fails with {code}, after {times}, and waits to run again.", "expedite"
        if sent is None and row["not_before"] < now - GRACE:
            yield (
                "job_unsent",
                "RabbitMQ has not confirmed its message, and nobody sends it: does a scheduler run?",
                "expedite",
            )
        if sent is None:
            yield "job_postponed", "It was put off, and is sent when its time has come.", "expedite"
        yield (
            "job_unfetched",
            f"It was sent, and no worker of {pool} has begun it: are there workers, and is the queue long?",
            "expedite",
        )

    async def _running(self, now: datetime, after: timedelta) -> list[Stuck]:
        query = {"state": RUNNING, "lease_until": {"$gt": _EPOCH}}
        rows = self._database[JOBS].find(query, _JOB).sort("lease_until").limit(LOOKED_AT)
        found = []
        async for row in rows:
            if row["lease_until"] < now - GRACE:
                says = "Its worker has fallen silent, and nobody takes the job back: does a scheduler run?"
                found.append(_job(row, "job_silent", says, "take_back", since=row["lease_until"]))
            elif now - row["started_at"] > after:
                limit = f"{self._settings.time_limit.total_seconds():.0f} s"
                says = f"It runs and its worker says so. A run is ended after {limit}."
                found.append(_job(row, "job_slow", says, None, since=row["started_at"]))
        return found[:MOST]

    async def _overdue_holds(self, now: datetime) -> list[Stuck]:
        query = {"state": HELD, "expires_at": {"$lt": now - GRACE}}
        rows = self._database[HOLDS].find(query, {"lines": 0}).sort("expires_at").limit(MOST)
        says = "Its time is over and it still keeps stock: does a scheduler run, and do workers of inventory?"
        return [
            Stuck("hold_overdue", "hold", row["_id"], row["expires_at"], says, "end_hold",
                  subject=row["order_id"])
            async for row in rows
        ]  # fmt: skip

    async def _untold(self, now: datetime, after: timedelta) -> list[Stuck]:
        old = {"_id": {"$lt": id_floor(now - after)}}
        rows = await self._database[OUTBOX].find(old).sort("_id").limit(MOST).to_list()
        if not rows:
            return []
        first = str(rows[0]["_id"])
        since = datetime.fromtimestamp(int(first[:8] + first[9:13], 16) / 1000, UTC)
        more = "at least " if len(rows) == MOST else ""
        count = f"{more}{len(rows)}".capitalize()
        says = f"{count} transactions' events are stored and not told: is Redis, or the scheduler, away?"
        return [Stuck("events_untold", "events", first, since, says, "republish")]

    async def _never_placed(self, now: datetime) -> list[Stuck]:
        """Orders that stay pending for good."""
        looked = await self._dead.select(Selection(kind=PlaceOrder.kind))
        return [
            _job(
                row, "order_dead",
                f"Its job is dead with {(row.get('error') or {}).get('code')}: the order stays pending until"
                " that is replayed or cancelled.",
                "replay", since=row.get("finished_at") or now, thing="order",
            )
            for row in looked.jobs[:MOST]
        ]  # fmt: skip


def _since(row: Doc) -> datetime:
    """Since when a queued job has not got on."""
    since: datetime = row.get("failing_since") or waiting_since(row)
    return since


def _job(row: Doc, what: str, says: str, repair: str | None, *, since: datetime, thing: str = "job") -> Stuck:
    return Stuck(
        what, thing, row["_id"], since, says, repair,
        kind=row["kind"], pool=row["pool"], subject=row.get("subject"),
    )  # fmt: skip
