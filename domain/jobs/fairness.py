"""No account crowds the others out: past its share of a pool's queue, its jobs wait for their turn.

Each kind has its own share and turns: the payments of an account that floods the pool with orders do not
stand behind those orders, while the time of what was placed runs out.

What each account has in the queue is counted in the process, from what it sent and from what it is told has
ended. So it is approximate: each process allows the share, ends that nobody told are forgotten after a
while, and a restart begins at nothing. All of that only moves the moment from which an account's jobs wait; a
job that waits is in the ledger, and the feeder sends it.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

from domain.changes import Database, Doc
from domain.jobs.fair_rules import Place, next_place, turn_at
from domain.jobs.pool_models import TURNS
from domain.jobs.rules import SYSTEM
from domain.metrics import HELD
from domain.settings import Pools as PoolSettings

#: Seconds after which a job that was sent counts no more, whether or not its end was told.
COUNTED_FOR = 60.0
#: The most jobs that are counted; of more the oldest are forgotten.
MOST_COUNTED = 50_000
#: Seconds for which the turns that were reached are known.
FRESH = 0.5

#: Pool, owner and kind.
_Key: TypeAlias = tuple[str, str, str]


class FairShare:
    """Which jobs are sent at once, and which wait for their turn. Belongs to one event loop."""

    def __init__(self, *, database: Database, settings: PoolSettings) -> None:
        self._database = database
        self._settings = settings
        #: What was sent and has not ended: whose, and until when it counts; the oldest first.
        self._sent: OrderedDict[str, tuple[_Key, float]] = OrderedDict()
        self._counts: Counter[_Key] = Counter()
        #: The last turns that this process gave, of accounts whose jobs wait.
        self._last: dict[_Key, Place] = {}
        self._reached: dict[str, int] = {}
        self._known_until = float("-inf")
        self._asking = asyncio.Lock()

    def admits(self, job: Doc) -> bool:
        """Whether the job is to be sent at once; it is counted then. Waits for nothing."""
        share = self._settings.share(job["pool"])
        if not share or job["owner"] == SYSTEM:
            return True
        key = _key(job)
        if key in self._last:
            # Others of this account wait: it does not overtake them.
            return False
        self._forget_old()
        if self._counts[key] >= share:
            return False
        self._sent[job["_id"]] = (key, time.monotonic() + COUNTED_FOR)
        self._counts[key] += 1
        return True

    async def hold(self, job: Doc) -> bool:
        """For what `admits` has refused: gives the job its turn. False where it can be sent at once.

        Raises PyMongoError where the store is away.
        """
        await self._know_reached()
        if self.admits(job):
            return False
        key = _key(job)
        place = next_place(self._last.get(key), reached=self._reached.get(job["pool"], 0))
        self._last[key] = place
        job |= {"dispatched_at": None, "not_before": turn_at(place.turn)}
        HELD.labels(job["pool"]).inc()
        return True

    def ended(self, job_ids: Iterable[str]) -> None:
        """Jobs that are not in the queue any more, or never were. Others than ours are no matter."""
        for job_id in job_ids:
            sent = self._sent.pop(job_id, None)
            if sent is not None:
                self._discount(sent[0])

    def _discount(self, key: _Key) -> None:
        self._counts[key] -= 1
        if self._counts[key] <= 0:
            del self._counts[key]

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self._sent:
            job_id, (key, until) = next(iter(self._sent.items()))
            if until > now and len(self._sent) < MOST_COUNTED:
                return
            del self._sent[job_id]
            self._discount(key)

    async def _know_reached(self) -> None:
        async with self._asking:
            if time.monotonic() < self._known_until:
                return
            rows = self._database[TURNS].find({})
            self._reached = {str(row["_id"]): int(row["turn"]) async for row in rows}
            # What was given before the turn that is next has been sent.
            self._last = {
                key: last for key, last in self._last.items() if last.turn >= self._reached.get(key[0], 0)
            }
            self._known_until = time.monotonic() + FRESH


def _key(job: Doc) -> _Key:
    return job["pool"], job["owner"], job["kind"]
